"""The client's two halves say the same to a service, and hear the same."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from service.client import AsyncServiceClient, ServiceClient, ServiceError, StreamLost
from service.hosted_schemas import EvaluateRequest, RolloutRequest
from service.schemas import Event, TrainRequest
from service.states import Status
from tests.fakes.example_server import ExampleServer, fresh
from tests.fakes.judge_server import JudgeServer, good

from .conftest import Service, StartService, occupied, request

ASKED = RolloutRequest(task_prompt="Add the numbers.", num_rollouts=5, verifier="numeric")


def to_judge() -> EvaluateRequest:
    said = [{"role": "assistant", "content": "4, of quality 0.7"}]
    return EvaluateRequest.model_validate(
        {
            "trajectories": [{"id": "mine", "messages": said}],
            "judge_model": "openai/judge",
            "evaluation_prompt": "Is it right?",
        }
    )


def sums(answer_of: ServiceClient | AsyncServiceClient, examples: object) -> TrainRequest:
    return TrainRequest.model_validate(
        {
            "model_name": type(answer_of).__name__,
            "base_model": "models/pocket_math",
            "task_prompt": ASKED.task_prompt,
            "training_data": examples,
            "verifier": "numeric",
            "use_ruler": False,
            "num_steps": 1,
        }
    )


def test_what_is_written_is_trained_on_and_what_is_said_is_judged(
    start_service: StartService,
) -> None:
    with ExampleServer(fresh) as writer, JudgeServer(good) as judge:
        client = served(start_service, writer, judge).client
        client.rollout(ASKED.model_copy(update={"temperature": None}))
        examples = client.rollout(ASKED).examples
        # None is said, and no default put in its place.
        assert [chat_request.get("temperature") for chat_request in writer.requests] == [None, 0.8]
        scored = client.evaluate(to_judge())
    assert [one.answer for one in examples] == ["20", "22", "24", "26", "28"]
    assert [(one.id, one.score) for one in scored.scores] == [("mine", 0.7)]
    seen: list[Event] = []
    job = client.train_and_wait(sums(client, examples), seen.append)
    assert job.status is Status.SUCCEEDED
    assert [event.id for event in seen] == list(range(1, job.last_event_id + 1))
    with pytest.raises(ServiceError) as refused:
        client.train_and_wait(request(base_model="no/such-model/anywhere"))
    assert refused.value.status == 422


async def test_the_same_with_await(start_service: StartService) -> None:
    with ExampleServer(fresh) as writer, JudgeServer(good) as judge:
        service = served(start_service, writer, judge)
        async with AsyncServiceClient(service.url) as client:
            examples = (await client.rollout(ASKED)).examples
            scored = await client.evaluate(to_judge())
            seen: list[Event] = []
            job = await client.train_and_wait(sums(client, examples), seen.append)
            listed = await client.models(limit=1)
    assert [(one.id, one.score) for one in scored.scores] == [("mine", 0.7)]
    assert job.status is Status.SUCCEEDED
    assert [event.id for event in seen] == list(range(1, job.last_event_id + 1))
    assert listed.models[0].job_id == job.job_id


def served(start_service: StartService, writer: ExampleServer, judge: JudgeServer) -> Service:
    return start_service(
        writer={"model": "openai/writer", "api_base": writer.base_url},
        judge={"api_base": judge.base_url, "second_order_share": 0},
    )


def test_both_halves_offer_the_same() -> None:
    def offered(kind: type) -> dict[str, list[str]]:
        methods = inspect.getmembers(kind, inspect.isfunction)
        return {
            name: [*inspect.signature(method).parameters][1:]
            for name, method in methods
            if not name.startswith("_")
        }

    assert offered(ServiceClient) == offered(AsyncServiceClient)
    assert {"train", "rollout", "evaluate", "stream"} < offered(ServiceClient).keys()


def test_a_service_that_does_not_come_back_is_given_up() -> None:
    with ServiceClient("http://127.0.0.1:9") as client, pytest.raises(StreamLost):
        list(client.stream("default", "m", patience_s=0.1))


async def test_a_stream_of_a_job_whose_events_were_all_seen_is_over(tmp_path: Path) -> None:
    with occupied(tmp_path):
        service = Service(tmp_path, {}).start()
        try:
            service.client.train(request("m"))
            service.client.cancel("default", "m")
            last = service.client.status("default", "m").last_event_id
            assert list(service.client.stream("default", "m", after=last)) == []
            async with AsyncServiceClient(service.url) as client:
                assert [event async for event in client.stream("default", "m", after=last)] == []
        finally:
            service.close()
