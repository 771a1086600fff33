"""Jobs that train for real: pocket policies, workers in processes, a few tiny steps.

All are queued at once on one service, and train two at a time while the tests look at them in turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow.parquet as pq
import pytest

from service.client import ServiceError
from service.schemas import Event, Step
from service.states import Status
from tests.fakes.example_server import ExampleServer, fresh
from tests.fakes.judge_server import JudgeServer, good
from tests.fakes.loopback import Response
from training.evaluation.compare import read_rows
from training.run.store import read_policy_record

from .conftest import SETTINGS, Service, assert_whole, request, sums, until

SECRET = "sekrit-openai-value-77"


class Judge(JudgeServer):
    """One that is good, and under another name one that repeats the key that it was shown, as it
    refuses it."""

    def respond(self, request: dict[str, Any]) -> Response:
        if request["model"] != "telltale":
            return super().respond(request)
        shown = self.headers[-1]["authorization"]
        return Response({"error": {"message": f"Incorrect API key: {shown}"}}, status=401)


PAIRS = [{"prompt": f"{n} + {n + 3} =", "answer": str(2 * n + 3)} for n in range(10, 30)]
WRITTEN: dict[str, Any] = {"training_data": None, "num_examples": 15}
CODE = {"base_model": "models/pocket_code", "environment": "code"}
SCORED: dict[str, Any] = {"use_ruler": True, "num_steps": 1}
JOBS = [
    request("mails"),
    sums("compared", num_steps=2, training_data=PAIRS, evaluation=True),
    sums("written", num_steps=1, **WRITTEN),
    request("code", num_steps=1, **CODE),
    request("judged", judge_model="openai/judge", **SCORED),
    request("told", judge_model="openai/telltale", **SCORED),
]


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge(good) as server:
        yield server


@pytest.fixture(scope="module")
def writer() -> Iterator[ExampleServer]:
    with ExampleServer(fresh) as server:
        yield server


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, judge: Judge, writer: ExampleServer
) -> Iterator[Service]:
    price = {"usd_per_million_in": 10, "usd_per_million_out": 10}
    settings: dict[str, Any] = {
        "concurrency": 2,
        "log_level": "debug",
        "judge": {"api_base": judge.base_url, "second_order_share": 0},
        "writer": {"model": "openai/writer", "api_base": writer.base_url} | price,
        "evaluation": {"samples": 2},
        "training": SETTINGS["training"] | {"budget": {"minutes": 60}},
        "rollout": SETTINGS["rollout"] | {"max_reply_tokens": 96},
        "environments": SETTINGS["environments"]
        | {"code": {"data": {"train_limit": 8, "test_limit": 4}}},
    }
    folder = tmp_path_factory.mktemp("training")
    service = Service(folder, settings, {"OPENAI_API_KEY": SECRET}).start()
    for job in JOBS:
        service.client.train(job)
    yield service
    service.close()


def events_of(service: Service, name: str) -> list[Event]:
    """Of a model's newest job, once that has ended."""
    return list(service.client.stream("default", name, patience_s=300))


def kinds(events: list[Event]) -> list[str]:
    return [e.data["status"] if e.event == "status" else e.event for e in events]


def test_a_job_trains_and_the_next_one_continues_its_model(service: Service) -> None:
    client = service.client
    events = [e for e in events_of(service, "mails") if e.event != "warning"]
    assert kinds(events) == ["queued", "running", "step", "step", "succeeded"]
    records = assert_whole(service, "mails", 2)
    steps = [Step.model_validate(e.data) for e in events if e.event == "step"]
    assert [s.metrics["train/reward"] for s in steps] == [r["train/reward"] for r in records]
    for step in steps:
        assert step.groups.trajectories == 8
        assert step.groups.trained + sum(step.groups.dropped.values()) == 8
    status = client.status("default", "mails")
    assert (status.status, status.step, status.progress) == (Status.SUCCEEDED, 2, 1.0)
    assert status.last_step == steps[-1]
    assert status.result is not None
    assert status.result.stopped_by == "max_steps"
    adapter = service.folders.root / status.result.adapter
    assert (adapter / "adapter_model.safetensors").exists()
    assert (service.folders.root / status.result.report).exists()

    with pytest.raises(ServiceError) as refused:
        client.train(request("mails", num_steps=3, seed=1))
    assert refused.value.status == 409
    assert "seed = 0, now it is 1" in refused.value.detail

    with pytest.raises(ServiceError, match="has made 2 steps") as refused:
        client.train(request("mails", num_steps=1))
    assert refused.value.status == 409

    second = client.train(request("mails", num_steps=3))
    events = [e for e in events_of(service, "mails") if e.event != "warning"]
    assert kinds(events) == ["queued", "running", "step", "succeeded"]
    assert events[2].data["step"] == 3
    assert client.model("default", "mails").jobs[0].job_id == second.job_id

    # Each job's result is its own.
    assert read_policy_record(adapter).step == 2
    (latest,) = client.status("default", "mails").model_dump(include={"result"}).values()
    assert read_policy_record(service.folders.root / latest["adapter"]).step == 3

    run = adapter.parents[2]
    assert run.parent == service.folders.root / "runs"
    client.delete("default", "mails")
    assert not run.exists()
    assert "mails" not in [model.model_name for model in client.models().models]


def test_a_stream_taken_up_again_begins_after_the_last_event(service: Service) -> None:
    whole = events_of(service, "judged")
    assert len(whole) > 3
    for last in range(len(whole)):
        assert list(service.client.stream("default", "judged", after=last)) == whole[last:]


def test_code_is_trained_too(service: Service) -> None:
    events = events_of(service, "code")
    assert kinds(events)[-1] == "succeeded", events[-1]
    assert_whole(service, "code", 1)


def test_a_judge_scores_where_it_is_asked_for(service: Service, judge: Judge) -> None:
    events = events_of(service, "judged")
    assert "judge" in {request["model"] for request in judge.requests}
    step = next(e for e in events if e.event == "step")
    assert step.data["metrics"]["judge/requests"] >= 1
    assert step.data["groups"]["dropped"] == {"zero_variance": 8}
    # Nothing was good, so nothing was learned, which is said and not passed over.
    assert events[-1].data["status"] == "failed"
    assert "nothing to train on" in events[-1].data["error"]


def test_a_key_that_a_judge_repeats_is_nowhere(service: Service, judge: Judge) -> None:
    events = events_of(service, "told")
    assert SECRET in judge.headers[-1]["authorization"]
    telling_events = [e for e in events if "Incorrect API key" in str(e.data)]
    assert {e.event for e in telling_events} >= {"step", "warning"}
    assert SECRET not in str(events)
    assert SECRET not in service.client.status("default", "told").model_dump_json()
    files = [file for file in service.folders.root.parent.rglob("*") if file.is_file()]
    (faulty,) = [f for f in files if f.name == "metrics.jsonl" and "Incorrect" in f.read_text()]
    assert "Incorrect API key: Bearer [secret]" in faulty.read_text()
    for file in files:
        assert SECRET.encode() not in file.read_bytes(), file
        if file.suffix == ".parquet":
            assert SECRET not in str(pq.read_table(file).to_pylist()), file


def test_a_budget_is_within_what_the_service_allows(service: Service) -> None:
    excessive = {"minutes": 600, "gpu_hours": 1}
    service.client.train(sums("spends", budget=excessive))
    store = service.store()
    job = store.newest("default", "spends")
    assert job is not None
    budget = store.plan(job.id)["training"]["budget"]
    store.close()
    service.client.delete("default", "spends")
    assert (budget["minutes"], budget["gpu_hours"]) == (60, 1)


def test_a_trained_policy_is_compared_with_its_base(service: Service) -> None:
    events = events_of(service, "compared")
    assert kinds(events)[-2:] == ["evaluation", "succeeded"], events[-1]
    result = service.client.status("default", "compared").result
    assert result is not None
    evaluation = result.evaluation
    assert evaluation is not None
    assert events[-2].data == evaluation.model_dump(mode="json")
    assert (evaluation.scenarios, evaluation.samples) == (4, 2)
    for scores in (evaluation.base, evaluation.trained):
        assert scores.rollouts == 4 * 2 + 4
        assert scores.errors == {}
    rows = read_rows((service.folders.root / evaluation.report).with_name("rollouts.parquet"))
    for policy, scores in (("base", evaluation.base), ("trained", evaluation.trained)):
        for mode in ("sampled", "greedy"):
            of = [row.success for row in rows if (row.policy, row.mode) == (policy, mode)]
            assert getattr(scores, mode) == pytest.approx(sum(of) / len(of))
    assert evaluation.gain == pytest.approx(evaluation.trained.sampled - evaluation.base.sampled)
    held_out = {row.scenario_id for row in rows}
    trajectories = (service.folders.root / result.adapter).parents[2] / "training/trajectories"
    trained_on = set(pq.read_table(trajectories)["scenario_id"].to_pylist())
    assert evaluation.report.split("/")[-3] == service.client.status("default", "compared").job_id
    (before,) = [e.data["metrics"]["budget/minutes"] for e in events if e.data.get("step") == 2]
    assert result.spent["minutes"] - before >= max(row.seconds for row in rows) / 60
    assert len(held_out) == 4
    assert trained_on
    assert not held_out & trained_on


def test_examples_are_written_where_none_are_given(service: Service, writer: ExampleServer) -> None:
    events = events_of(service, "written")
    requests_before = len(writer.requests)
    assert kinds(events) == ["queued", "running", "examples", "step", "succeeded"], events[-1]
    report = events[2].data
    assert (report["kept"], report["ended_by"]) == (15, "done")
    assert report["cost_usd"] > 0
    result = service.client.status("default", "written").result
    assert result is not None
    assert result.spent["cost_usd"] == pytest.approx(report["cost_usd"])
    # The next job of the model goes on with the same, and nobody is asked for others.
    budget = {"cost_usd": result.spent["cost_usd"] / 2}
    service.client.train(sums("written", num_steps=2, budget=budget, **WRITTEN))
    events = events_of(service, "written")
    assert kinds(events) == ["queued", "running", "succeeded"], events[-1]
    assert events[-1].data["result"]["stopped_by"] == "cost_usd"
    assert len(writer.requests) == requests_before


def test_an_evaluation_that_could_say_nothing_is_refused(service: Service) -> None:
    one = [{"prompt": "1 + 1 =", "answer": "2"}]
    two = [*one, {"prompt": "1 + 2 =", "answer": "3"}]
    for changes, message in (
        ({"training_data": one}, "at least two examples"),
        ({"training_data": one * 2}, "at least two examples"),
        ({**WRITTEN, "verifier": None, "use_ruler": True}, "requires a verifier"),
        ({"training_data": two, "verifier": None, "use_ruler": True}, "requires a verifier"),
    ):
        with pytest.raises(ServiceError, match=message) as refused:
            service.client.train(sums(evaluation=True, **changes))
        assert refused.value.status == 422


def test_jobs_train_side_by_side_up_to_the_limit(service: Service) -> None:
    until(lambda: service.client.health().running == 0)
    for name in ("a", "b", "c"):
        service.client.train(sums(name, num_steps=500))
    until(lambda: len(service.workers()) == 2)
    assert service.client.health().running == 2
    assert service.client.status("default", "c").queue_position == 1
    service.client.delete("default", "a")
    until(lambda: service.worker("c"))
    assert service.client.health().running == 2
    for name in ("b", "c"):
        service.client.delete("default", name)
