"""Jobs that train for real: pocket policies, workers in processes, a few tiny steps."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from service.client import ServiceError
from service.schemas import Event, Step, TrainRequest
from service.states import Status
from tests.fakes.example_server import ExampleServer, fresh
from tests.fakes.judge_server import JudgeServer, good
from tests.fakes.loopback import LoopbackServer, Response
from training.compare import read_rows

from .conftest import POCKET, ROOT, Service, StartService, assert_whole, occupied, request, until

SECRET = "sekrit-openai-value-77"


def kinds(events: list[Event]) -> list[str]:
    return [e.data["status"] if e.event == "status" else e.event for e in events]


def test_a_job_trains_and_the_next_one_continues_its_model(start_service: StartService) -> None:
    service = start_service()
    client = service.client
    client.train(request())
    events = [e for e in client.stream("default", "m") if e.event != "warning"]
    assert kinds(events) == ["queued", "running", "step", "step", "succeeded"]
    records = assert_whole(service, "m", 2)
    steps = [Step.model_validate(e.data) for e in events if e.event == "step"]
    assert [s.metrics["train/reward"] for s in steps] == [r["train/reward"] for r in records]
    for step in steps:
        assert step.groups.trajectories == 8
        assert step.groups.trained + sum(step.groups.dropped.values()) == 8
    status = client.status("default", "m")
    assert (status.status, status.step, status.progress) == (Status.SUCCEEDED, 2, 1.0)
    assert status.last_step == steps[-1]
    assert status.result is not None
    assert status.result.stopped_by == "max_steps"
    adapter = service.folders.root / status.result.adapter
    assert (adapter / "adapter_model.safetensors").exists()
    assert (service.folders.root / status.result.report).exists()

    with pytest.raises(ServiceError) as refused:
        client.train(request(num_steps=3, seed=1))
    assert refused.value.status == 409
    assert "seed = 0, now it is 1" in refused.value.detail

    with pytest.raises(ServiceError, match="has made 2 steps") as refused:
        client.train(request(num_steps=1))
    assert refused.value.status == 409

    second = client.train(request(num_steps=3))
    events = [e for e in client.stream("default", "m") if e.event != "warning"]
    assert kinds(events) == ["queued", "running", "step", "succeeded"]
    assert events[2].data["step"] == 3
    assert client.model("default", "m").jobs[0].job_id == second.job_id

    run = adapter.parents[1]
    assert run.exists()
    client.delete("default", "m")
    assert not run.exists()
    assert client.models().total == 0


def test_a_stream_taken_up_again_begins_after_the_last_event(start_service: StartService) -> None:
    service = start_service()
    service.client.train(request(num_steps=1))
    whole = list(service.client.stream("default", "m"))
    for last in range(len(whole)):
        assert list(service.client.stream("default", "m", after=last)) == whole[last:]


def test_code_is_trained_too(start_service: StartService) -> None:
    service = start_service(
        environments={"code": {"data": {"train_limit": 8, "test_limit": 4}}},
        rollout={"max_turns": 3, "max_reply_tokens": 96, "max_tokens": 1024, "timeout_s": 120},
    )
    service.client.train(request(base_model="models/pocket_code", environment="code", num_steps=1))
    events = list(service.client.stream("default", "m"))
    assert kinds(events)[-1] == "succeeded", events[-1]
    assert_whole(service, "m", 1)


def test_a_judge_scores_where_it_is_asked_for(start_service: StartService) -> None:
    with JudgeServer(good) as judge:
        service = start_service(judge={"api_base": judge.base_url, "second_order_share": 0})
        service.client.train(request(num_steps=1, use_ruler=True, judge_model="openai/judge"))
        events = list(service.client.stream("default", "m"))
        assert judge.requests
    step = next(e for e in events if e.event == "step")
    assert step.data["metrics"]["judge/requests"] >= 1
    assert step.data["groups"]["dropped"] == {"zero_variance": 8}
    # Nothing was good, so nothing was learned, which is said and not passed over.
    assert events[-1].data["status"] == "failed"
    assert "nothing to train on" in events[-1].data["error"]


class TellTale(LoopbackServer):
    """A judge that repeats the key that it was shown, as it refuses it."""

    def respond(self, request: dict[str, Any]) -> Response:
        shown = self.headers[-1]["authorization"]
        return Response({"error": {"message": f"Incorrect API key: {shown}"}}, status=401)


def test_a_key_that_a_judge_repeats_is_in_no_log_event_or_error(
    start_service: StartService, tmp_path: Path
) -> None:
    with TellTale() as judge:
        service = start_service(
            {"OPENAI_API_KEY": SECRET}, judge={"api_base": judge.base_url}, log_level="debug"
        )
        service.client.train(request(num_steps=1, use_ruler=True, judge_model="openai/judge"))
        events = list(service.client.stream("default", "m"))
        assert SECRET in judge.headers[-1]["authorization"]
    told = [e for e in events if "Incorrect API key" in str(e.data)]
    assert {e.event for e in told} >= {"step", "warning"}
    assert SECRET not in str(events)
    assert SECRET not in service.client.status("default", "m").model_dump_json()
    service.terminate()
    logs = [*tmp_path.rglob("*.log"), *service.folders.root.glob("service.db*")]
    assert len(logs) >= 3
    for log in logs:
        assert SECRET.encode() not in log.read_bytes(), log


def test_a_job_that_cannot_go_on_says_why(tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(ROOT / POCKET, model)
    with occupied(tmp_path):
        service = Service(tmp_path, {}).start()
        try:
            service.client.train(request(base_model=str(model)))
            shutil.rmtree(model)
            service.kill_worker("busy")  # which stood in for a job without a plan
            failed = list(service.client.stream("default", "busy"))[-1]
            assert failed.data["status"] == "failed"
            assert "ValidationError" in failed.data["error"]
            failed = list(service.client.stream("default", "m"))[-1]
            assert failed.data["status"] == "failed"
            assert "no such folder" in failed.data["error"]
            assert service.client.status("default", "m").error == failed.data["error"]
        finally:
            service.close()


def test_a_budget_ends_a_job_cleanly(start_service: StartService) -> None:
    service = start_service(training={"budget": {"minutes": 0.01}, "empty_steps_limit": 1000})
    service.client.train(request(num_steps=1_000, budget={"minutes": 600}))
    events = list(service.client.stream("default", "m"))
    assert events[-1].data["result"]["stopped_by"] == "minutes"


def test_jobs_train_side_by_side_up_to_the_limit(start_service: StartService) -> None:
    service = start_service(concurrency=2)
    for name in ("a", "b", "c"):
        service.client.train(request(name, num_steps=500))
    until(lambda: len(service.workers()) == 2)
    assert service.client.health().running == 2
    assert service.client.status("default", "c").queue_position == 1
    service.client.delete("default", "a")
    until(lambda: service.worker("c"))
    assert service.client.health().running == 2


def sums(name: str = "m", **changes: Any) -> TrainRequest:
    """A job of the arithmetic policy."""
    asked = {
        "base_model": "models/pocket_math",
        "environment": "prompt_task",
        "task_prompt": "Answer.",
        "verifier": "numeric",
    }
    return request(name, **asked | changes)


def test_a_trained_policy_is_compared_with_its_base(start_service: StartService) -> None:
    service = start_service(evaluation={"samples": 2})
    data = [{"prompt": f"{n} + {n + 3} =", "answer": str(2 * n + 3)} for n in range(10, 30)]
    service.client.train(sums(training_data=data, evaluation=True))
    events = list(service.client.stream("default", "m"))
    assert kinds(events)[-2:] == ["evaluation", "succeeded"], events[-1]
    result = service.client.status("default", "m").result
    assert result is not None
    found = result.evaluation
    assert found is not None
    assert events[-2].data == found.model_dump(mode="json")
    assert (found.scenarios, found.samples) == (4, 2)
    for scores in (found.base, found.trained):
        assert scores.rollouts == 4 * 2 + 4
        assert scores.errors == {}
    rows = read_rows((service.folders.root / found.report).with_name("rollouts.parquet"))
    for policy, scores in (("base", found.base), ("trained", found.trained)):
        for mode in ("sampled", "greedy"):
            of = [row.success for row in rows if (row.policy, row.mode) == (policy, mode)]
            assert getattr(scores, mode) == pytest.approx(sum(of) / len(of))
    assert found.gain == pytest.approx(found.trained.sampled - found.base.sampled)
    held_out = {row.scenario_id for row in rows}
    trajectories = (service.folders.root / result.adapter).with_name("trajectories")
    trained_on = set(pq.read_table(trajectories)["scenario_id"].to_pylist())
    assert found.report.split("/")[-2] == service.client.status("default", "m").job_id
    (before,) = [e.data["metrics"]["budget/minutes"] for e in events if e.data.get("step") == 2]
    assert result.spent["minutes"] - before >= max(row.seconds for row in rows) / 60
    assert len(held_out) == 4
    assert trained_on
    assert not held_out & trained_on


def test_examples_are_written_where_none_are_given(start_service: StartService) -> None:
    with ExampleServer(fresh) as writer:
        price = {"usd_per_million_in": 10, "usd_per_million_out": 10}
        service = start_service(
            writer={"model": "openai/writer", "api_base": writer.base_url} | price
        )
        service.client.train(sums(num_steps=1, num_examples=15))
        events = list(service.client.stream("default", "m"))
        asked = len(writer.requests)
    assert kinds(events) == ["queued", "running", "examples", "step", "succeeded"], events[-1]
    report = events[2].data
    assert (report["kept"], report["ended_by"]) == (15, "done")
    assert report["cost_usd"] > 0
    result = service.client.status("default", "m").result
    assert result is not None
    assert result.spent["cost_usd"] == pytest.approx(report["cost_usd"])
    # The next job of the model is trained on the same, and nobody is asked for others.
    service.client.train(sums(num_steps=2, num_examples=15))
    events = list(service.client.stream("default", "m"))
    assert kinds(events) == ["queued", "running", "step", "succeeded"]
    assert len(writer.requests) == asked


def test_an_evaluation_that_could_say_nothing_is_refused(start_service: StartService) -> None:
    service = start_service(judge={"api_base": "http://127.0.0.1:9"})
    one = [{"prompt": "1 + 1 =", "answer": "2"}]
    two = [*one, {"prompt": "1 + 2 =", "answer": "3"}]
    for changes, told in (
        ({"training_data": one}, "none to hold out"),
        ({"training_data": one * 2}, "none to hold out"),
        ({"num_examples": 2, "verifier": None, "use_ruler": True}, "OPENAI_API_KEY"),
        ({"training_data": two, "verifier": None, "use_ruler": True}, "without a verifier"),
    ):
        with pytest.raises(ServiceError, match=told) as refused:
            service.client.train(sums(evaluation=True, **changes))
        assert refused.value.status == 422
