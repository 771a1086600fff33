"""Examples and scores of hosted models, through the API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from environment.prompt_task.models import Example
from tests.fakes import judge_server as judges
from tests.fakes.completions import http_error
from tests.fakes.example_server import ExampleServer, always, fresh
from tests.fakes.judge_server import JudgeServer, shown

from .conftest import Service, request

SUMS = {"task_prompt": "Add the numbers.", "num_rollouts": 5, "model_name": "data-gen"}
CRITERIA = "Rate the accuracy of this mathematical response."
SECRET = "sekrit-openai-value-78"


def trajectory(quality: float, **more: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": f"2+2 equals 4, of quality {quality}"}
    return {"messages": [{"role": "user", "content": "What is 2+2?"}, said], **more}


def post(service: Service, path: str, body: dict[str, Any]) -> dict[str, Any]:
    response = httpx.post(f"{service.url}{path}", json=body, timeout=60)
    assert response.status_code == 200, response.text
    return dict(response.json())


@pytest.fixture(scope="module")
def writer() -> Iterator[ExampleServer]:
    with ExampleServer(fresh) as server:
        yield server


@pytest.fixture(scope="module")
def judge() -> Iterator[JudgeServer]:
    with JudgeServer(judges.good) as server:
        yield server


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, writer: ExampleServer, judge: JudgeServer
) -> Iterator[Service]:
    """A service that asks these two, whose manners each test says."""
    hosted = {
        "writer": {"model": "openai/writer", "api_base": writer.base_url},
        "judge": {"second_order_share": 0, "api_base": judge.base_url},
    }
    folder = tmp_path_factory.mktemp("hosted")
    service = Service(folder, hosted, {"OPENAI_API_KEY": SECRET}).start()
    yield service
    service.close()


def test_examples_are_written_and_are_training_data(
    service: Service, writer: ExampleServer
) -> None:
    writer.follow(fresh)
    answer = post(service, "/rollout", SUMS | {"temperature": 0.3})
    assert writer.requests[0]["temperature"] == 0.3
    assert writer.prompts[0]["task"] == SUMS["task_prompt"]
    assert [example["answer"] for example in answer["examples"]] == ["20", "22", "24", "26", "28"]
    assert (answer["model_name"], answer["project"]) == ("data-gen", "default")
    assert (answer["report"]["kept"], answer["report"]["ended_by"]) == (5, "done")
    taken = request(
        environment="prompt_task",
        task_prompt=SUMS["task_prompt"],
        verifier="numeric",
        training_data=answer["examples"],
        base_model="models/pocket_math",
    )
    assert service.client.train(taken).created


def test_prompts_alone_are_written_too(service: Service, writer: ExampleServer) -> None:
    writer.follow(fresh)
    answer = post(service, "/rollout", SUMS | {"with_answers": False})
    assert {Example.model_validate(example).answer for example in answer["examples"]} == {None}


def test_a_writer_that_repeats_itself_is_reported(service: Service, writer: ExampleServer) -> None:
    writer.follow(always(("What is 1 + 1?", "2")))
    report = post(service, "/rollout", SUMS)["report"]
    assert (report["kept"], report["ended_by"]) == (1, "repeats")
    assert report["left_out"] == {"duplicate": report["drafts"] - 1}


def test_scores_go_to_their_ids(service: Service, judge: JudgeServer) -> None:
    judge.follow(judges.backwards)
    given = [trajectory(0.2, id="poor"), trajectory(0.9, reward=3), trajectory(0.4, id="fair")]
    body = {
        "trajectories": given,
        "judge_model": "openai/judge",
        "evaluation_prompt": CRITERIA,
    }
    answer = post(service, "/evaluate", body)
    assert shown(judge.requests[0])["criteria"] == CRITERIA
    assert judge.requests[0]["model"] == "judge"
    assert "poor" not in str(judge.requests)
    assert [(s["id"], s["score"]) for s in answer["scores"]] == [
        ("poor", 0.2),
        ("1", 0.9),
        ("fair", 0.4),
    ]
    assert answer["mean"] == pytest.approx(0.5)
    assert answer["requests"] == 1
    assert answer["cost_usd"] is None


@pytest.mark.parametrize("score", [1.5, -0.1])
def test_a_score_out_of_bounds_is_refused(
    service: Service, judge: JudgeServer, score: float
) -> None:
    judge.follow(judges.scoring(score))
    body = {"trajectories": [trajectory(0.2)], "judge_model": "openai/judge"}
    response = httpx.post(
        f"{service.url}/evaluate", json=body | {"evaluation_prompt": CRITERIA}, timeout=60
    )
    assert response.status_code == 502
    assert "are not between 0 and 1" in response.json()["detail"]


@pytest.mark.parametrize(
    ("path", "changes", "field"),
    [
        ("/rollout", {"num_rollouts": 0}, "num_rollouts"),
        ("/rollout", {"temperature": 2.5}, "temperature"),
        ("/rollout", {"task_prompt": ""}, "task_prompt"),
        ("/rollout", {"with_answers": False, "verifier": "exact"}, "verifier"),
        ("/rollout", {"project": "../x"}, "project"),
        ("/evaluate", {"trajectories": []}, "trajectories"),
        ("/evaluate", {"trajectories": [{"messages": []}]}, "messages"),
        ("/evaluate", {"trajectories": [trajectory(1, id="a")] * 2}, "have the id 'a'"),
        ("/evaluate", {"trajectories": [trajectory(1), trajectory(0, id="0")]}, "have the id '0'"),
        ("/evaluate", {"judge_model": "openai/http://10.0.0.1/x"}, "judge_model"),
        ("/evaluate", {"judge_model": "gpt-4o"}, "OPENAI_API_KEY"),
        ("/evaluate", {"judge_model": "nobody-knows-it"}, "judge_providers"),
    ],
)
def test_what_cannot_be_is_refused_by_field(
    unready: Service, path: str, changes: dict[str, Any], field: str
) -> None:
    good = SUMS if path == "/rollout" else {"trajectories": [trajectory(1)]}
    rest = {} if path == "/rollout" else {"evaluation_prompt": CRITERIA}
    response = httpx.post(f"{unready.url}{path}", json=good | rest | changes, timeout=60)
    assert response.status_code == 422, response.text
    assert field in response.text


@pytest.fixture(scope="module")
def unready(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A service without any key."""
    service = Service(tmp_path_factory.mktemp("unready"), {}).start()
    yield service
    service.close()


def test_without_a_key_there_is_no_writer_and_it_says_what_to_set(unready: Service) -> None:
    response = httpx.post(f"{unready.url}/rollout", json=SUMS, timeout=60)
    assert response.status_code == 503
    assert "writer, in the service's configuration: " in response.json()["detail"]
    assert "OPENAI_API_KEY" in response.json()["detail"]
    response = httpx.post(
        f"{unready.url}/train",
        json={"model_name": "m", "task_prompt": "Add.", "base_model": "models/pocket_math"},
        timeout=60,
    )
    assert response.status_code == 422
    assert "OPENAI_API_KEY" in response.text


def test_a_key_that_a_provider_repeats_is_in_no_answer(
    service: Service, writer: ExampleServer
) -> None:
    refusal = http_error(401)
    refusal.body["error"]["message"] = f"Incorrect API key provided: {SECRET}"
    writer.follow(lambda _: refusal)
    response = httpx.post(f"{service.url}/rollout", json=SUMS, timeout=60)
    assert SECRET in writer.headers[0]["authorization"]
    assert response.status_code == 502
    assert "Incorrect API key provided: [secret]" in response.json()["detail"]
    assert SECRET not in service.log.read_text()


def test_a_request_leads_to_no_server_of_this_machine(unready: Service) -> None:
    body = {"trajectories": [trajectory(1)], "evaluation_prompt": CRITERIA}
    body["judge_model"] = "llamafile/any"
    response = httpx.post(f"{unready.url}/evaluate", json=body, timeout=60)
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["body", "judge_model"]
    assert "judge_providers" in response.text
