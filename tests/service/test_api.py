"""What the API answers, to callers who are right and to callers who are not. No job trains here: the
one place is taken, so all wait."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.client import AsyncServiceClient, ServiceError
from service.schemas import TrainRequest
from service.states import Status

from .actor import acting
from .conftest import POCKET, Service, occupied, request, until

TOKEN = "correct-horse-battery"
BODY = request("x").model_dump(mode="json", exclude_none=True)
SUMS = {
    "base_model": "models/pocket_math",
    "environment": "prompt_task",
    "task_prompt": "Answer.",
    "training_data": [{"prompt": f"{n} + 1 =", "answer": str(n + 1)} for n in range(4)],
    "verifier": "numeric",
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    with occupied(folder):
        service = Service(folder, {"max_body_bytes": 100_000}).start()
        yield service
        service.close()


@pytest.fixture(scope="module")
def http(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=60) as client:
        yield client


def nested(depth: int) -> Any:
    """Lists in a list."""
    lists: list[Any] = []
    for _ in range(depth):
        lists = [lists]
    return lists


def faults(response: httpx.Response) -> dict[str, str]:
    assert response.status_code == 422, response.text
    return {".".join(fault["loc"]): fault["msg"] for fault in response.json()["detail"]}


def test_health_says_what_is_there(service: Service) -> None:
    health = until(lambda: h if (h := service.client.health()).device else None)
    assert (health.status, health.art_backend, health.device) == ("healthy", "embedded", "cpu")
    assert (health.openai_configured, health.wandb_configured) == (False, False)
    assert health.running == 1


def test_a_job_is_taken_waits_and_is_found_again(service: Service) -> None:
    client = service.client
    accepted = client.train(request("waits"))
    assert (accepted.status, accepted.created) == (Status.QUEUED, True)
    status = client.status("default", "waits")
    assert (status.job_id, status.step, status.num_steps) == (accepted.job_id, 0, 2)
    assert status.queue_position is not None
    assert (status.attempts, status.last_step, status.last_event_id) == (0, None, 1)
    model = client.model("default", "waits")
    assert model.request == request("waits")
    assert [job.job_id for job in model.jobs] == [accepted.job_id]
    assert ("default", "waits") in [(m.project, m.model_name) for m in client.models().models]


def test_a_model_in_training_takes_no_second_job(service: Service) -> None:
    for name in ("busy", "twice"):
        if name == "twice":
            service.client.train(request(name))
        with pytest.raises(ServiceError) as refused:
            service.client.train(request(name, num_steps=3))
        assert refused.value.status == 409
        assert "is in training" in refused.value.detail


def test_of_many_at_once_one_gets_the_model(http: httpx.Client) -> None:
    def post(_: int) -> int:
        return http.post("/train", json=BODY | {"model_name": "raced"}).status_code

    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(post, range(8)))
    assert sorted(codes) == [202, *[409] * 7]


def test_the_same_idempotency_key_gives_the_same_job(http: httpx.Client) -> None:
    body = BODY | {"model_name": "keyed"}
    first = http.post("/train", json=body, headers={"Idempotency-Key": "k1"})
    second = http.post("/train", json=body | {"idempotency_key": "k1"})
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["job_id"] == second.json()["job_id"]
    assert (first.json()["created"], second.json()["created"]) == (True, False)
    other = http.post("/train", json=body | {"num_steps": 9, "idempotency_key": "k1"})
    assert other.status_code == 409
    both = http.post(
        "/train", json=body | {"idempotency_key": "a"}, headers={"Idempotency-Key": "b"}
    )
    assert list(faults(both)) == ["header.Idempotency-Key"]


def test_a_job_that_waits_is_cancelled_at_once_and_again(service: Service) -> None:
    client = service.client
    client.train(request("unwanted"))
    assert client.cancel("default", "unwanted").status is Status.CANCELLED
    assert client.cancel("default", "unwanted").status is Status.CANCELLED
    events = list(client.stream("default", "unwanted"))
    assert [(e.id, e.data["status"]) for e in events] == [(1, "queued"), (2, "cancelled")]
    assert client.train(request("unwanted")).created


def ended(service: Service, job_id: str) -> None:
    """Let a job that waits fail, as if a worker had done it."""
    store = service.store()
    with acting(service.folders.lock(store.job(job_id).run)):
        store.begin(job_id)
        store.end(job_id, Status.FAILED, error="no luck")
    store.close()


def test_cancelling_what_has_ended_is_refused(service: Service) -> None:
    ended(service, service.client.train(request("done")).job_id)
    with pytest.raises(ServiceError, match="has ended: failed") as refused:
        service.client.cancel("default", "done")
    assert refused.value.status == 409


def test_a_model_of_another_version_of_the_service_is_not_continued(service: Service) -> None:
    store = service.store()
    body = request("old").model_dump(mode="json", exclude={"idempotency_key"})
    job, _ = store.submit(body, {"seed": 0, "method": "magic"}, None, 10_000)
    store.close()
    ended(service, job.id)
    with pytest.raises(ServiceError, match="another version of the service planned") as refused:
        service.client.train(request("old", num_steps=3))
    assert refused.value.status == 409
    assert "delete the model" in refused.value.detail
    service.client.delete("default", "old")
    assert service.client.train(request("old")).created


def test_a_stream_can_be_of_an_earlier_job(service: Service, http: httpx.Client) -> None:
    client = service.client
    first = client.train(request("again")).job_id
    client.cancel("default", "again")
    client.train(request("again"))
    path = "/train/default/again/stream"
    old = http.get(path, params={"job_id": first}, headers={"Last-Event-ID": "1"})
    assert old.headers["job-id"] == first
    assert [x for x in old.text.splitlines() if x.startswith("id:")] == ["id: 2"]
    assert http.get("/train/default/busy/stream", params={"job_id": first}).status_code == 404
    assert http.get(path, params={"job_id": "0" * 32}).status_code == 404
    assert http.get(path, params={"job_id": "../x"}).status_code == 422


def test_a_deleted_model_is_gone_with_its_folder(service: Service) -> None:
    client = service.client
    client.train(request("gone"))
    store = service.store()
    job = store.newest("default", "gone")
    store.close()
    assert job is not None
    client.delete("default", "gone")
    for ask in (client.status, client.model, client.delete, client.cancel):
        with pytest.raises(ServiceError) as refused:
            ask("default", "gone")
        assert refused.value.status == 404
    assert not service.folders.run(job.run).exists()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"model_name": "../up"}, "body.model_name"),
        ({"model_name": ".."}, "body.model_name"),
        ({"model_name": "a/b"}, "body.model_name"),
        ({"model_name": "a\\b"}, "body.model_name"),
        ({"model_name": "a\x00b"}, "body.model_name"),
        ({"model_name": "a\n"}, "body.model_name"),
        ({"model_name": "x" * 65}, "body.model_name"),
        ({"model_name": ""}, "body.model_name"),
        ({"project": "/etc"}, "body.project"),
        ({"project": ".hidden"}, "body.project"),
        ({"num_steps": 0}, "body.num_steps"),
        ({"batch_size": 1}, "body.batch_size"),
        ({"batch_size": 8, "group_size": 3}, "body"),
        ({"learning_rate": float("inf")}, "body.learning_rate"),
        ({"budget": {"minutes": float("inf")}}, "body"),
        ({"budget": {"minits": 1}}, "body.budget.minits"),
        ({"modle_name": "x"}, "body.modle_name"),
        ({"task_prompt": "Answer."}, "body"),
        ({"verifier": "exact"}, "body"),
        ({"environment": "nowhere"}, "body.environment"),
        ({"environment": "../code"}, "body.environment"),
        ({"environment_settings": {"max_hits": 99}}, "body.environment_settings.max_hits"),
        ({"environment_settings": {"name": "code"}}, "body.environment_settings.name"),
        ({"environment_settings": {"x": nested(300)}}, "body.environment_settings"),
        (
            {"environment": "code", "environment_settings": {"sandbox": {"kind": "stack"}}},
            "body.environment_settings.sandbox",
        ),
        (
            SUMS | {"environment_settings": {"verifier": "exact"}},
            "body.environment_settings.verifier",
        ),
        (
            SUMS | {"environment_settings": {"held_out_share": 0}, "evaluation": True},
            "body.environment_settings.held_out_share",
        ),
        ({"base_model": "models/none"}, "body.base_model"),
        ({"base_model": "/etc"}, "body.base_model"),
        ({"base_model": "a\x00b"}, "body.base_model"),
        ({"use_ruler": True}, "body.judge_model"),
        ({"use_ruler": True, "judge_model": "nobody/knows"}, "body.judge_model"),
        ({"use_ruler": True, "judge_model": "llamafile/local"}, "body.judge_model"),
        ({"idempotency_key": "two words"}, "body.idempotency_key"),
        ({"seed": -1}, "body.seed"),
    ],
    ids=str,
)
def test_a_request_that_cannot_be_is_refused_by_field(
    http: httpx.Client, changes: dict[str, Any], field: str
) -> None:
    body = json.dumps(BODY | changes).encode()
    response = http.post("/train", content=body, headers={"content-type": "application/json"})
    assert list(faults(response)) == [field]


def test_what_a_refusal_says_is_what_to_do(http: httpx.Client) -> None:
    mistyped = {"environment_settings": {"max_hit": 4}}
    (message,) = faults(http.post("/train", json=BODY | mistyped)).values()
    assert message == "unknown key max_hit: did you mean max_hits?"
    refused = faults(http.post("/train", json=BODY | {"use_ruler": True}))
    assert "OPENAI_API_KEY" in refused["body.judge_model"]
    assert "use_ruler: false" in refused["body.judge_model"]
    refused = faults(http.post("/train", json=BODY | {"environment": "nowhere"}))
    assert "email_search" in refused["body.environment"]
    refused = faults(http.post("/train", json=BODY | {"environment": "prompt_task"}))
    assert "task_prompt" in refused["body"]


@pytest.mark.parametrize(
    "path",
    ["/models/../service.db", "/models/%2e%2e/x", "/models/default/%2e%2e%2fx", "/models/a/.."],
)
def test_names_in_paths_lead_nowhere(service: Service, path: str) -> None:
    with socket.create_connection(("127.0.0.1", service.port)) as raw:
        raw.sendall(
            f"DELETE {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        )
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert int(answer.split()[1]) in (404, 405, 422)
    assert service.folders.database.exists()


def test_an_oversized_body_is_refused(http: httpx.Client) -> None:
    assert http.post("/train", content=b"x" * 100_001).status_code == 413
    assert http.post("/train", content=iter([b"x" * 60_000] * 2)).status_code == 413


def test_pages_of_other_sites_and_other_names_are_refused(http: httpx.Client) -> None:
    path = "/train/default/busy/cancel"
    assert http.post(path, headers={"Origin": "https://evil.example"}).status_code == 403
    assert http.post(path, headers={"Origin": "null"}).status_code == 403
    assert http.post(path, headers={"Host": "evil.example"}).status_code == 421
    assert not http.get("/train/default/busy/status").json()["cancelling"]
    plain = http.post("/train", content=json.dumps(BODY), headers={"content-type": "text/plain"})
    assert plain.status_code == 422
    # A page of another port of this machine is somebody else's too.
    assert http.post(path, headers={"Origin": "http://127.0.0.1:3000"}).status_code == 403
    own = http.get("/models", headers={"Origin": str(http.base_url).rstrip("/")})
    assert own.status_code == 200


def test_metrics_count_jobs_and_answers(service: Service, http: httpx.Client) -> None:
    http.get("/train/default/nobody/status")
    response = http.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(response.text)
    values = {
        (sample.name.removeprefix("art_service_"), *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }
    assert {name for name, *_ in values} == {
        *("info", "jobs", "queue_depth", "models", "steps", "streams"),
        *("changes_total", "http_responses_total"),
    }
    assert values["jobs", "running"] == 1
    assert values["queue_depth",] == values["jobs", "queued"]
    assert values["http_responses_total", "404"] >= 1
    newer = http.get("/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0"})
    assert newer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert newer.text.endswith("# EOF\n")


async def test_the_client_with_await_says_the_same(service: Service) -> None:
    async with AsyncServiceClient(service.url) as client:
        assert (await client.health()).status == "healthy"
        accepted = await client.train(request("awaited"))
        assert (await client.status("default", "awaited")).job_id == accepted.job_id
        assert (await client.model("default", "awaited")).model_name == "awaited"
        assert (await client.cancel("default", "awaited")).status is Status.CANCELLED
        ids = [event.id async for event in client.stream("default", "awaited")]
        assert ids == [1, 2]
        assert "art_service_info" in await client.metrics()
        await client.delete("default", "awaited")
        with pytest.raises(ServiceError):
            await client.status("default", "awaited")
        assert (await client.models()).total >= 1


def test_a_thousand_jobs_wait_and_all_are_listed(service: Service, http: httpx.Client) -> None:
    before = service.client.models().total

    def post(n: int) -> int:
        body = BODY | {"project": "crowd", "model_name": f"m{n:04}"}
        return http.post("/train", json=body).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(post, range(1_000))) == {202}
    assert service.client.models().total == before + 1_000
    names, offset = [], 0
    while page := service.client.models(limit=300, offset=offset).models:
        names += [m.model_name for m in page if m.project == "crowd"]
        offset += 300
    assert names == [f"m{n:04}" for n in range(1_000)]
    assert service.client.health().queue_depth >= 1_000


def test_who_waits_for_a_slow_check_keeps_nobody_else_waiting(
    service: Service, http: httpx.Client
) -> None:
    http.post("/train", json=BODY | {"model_name": "first"}).raise_for_status()
    assert service.process is not None
    children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children").parents[1]
    (checker,) = {
        int(pid)
        for task in children.iterdir()
        for pid in (task / "children").read_text().split()
        if b"service.checker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    }
    os.kill(checker, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(60) as pool:
            futures = [
                pool.submit(http.post, "/train", json=BODY | {"model_name": f"slow{n}"})
                for n in range(60)
            ]
            try:
                until(lambda: sum(future.running() for future in futures) == 60)
                for _ in range(20):
                    assert http.get("/models").status_code == 200
            finally:
                os.kill(checker, signal.SIGCONT)
            assert {future.result().status_code for future in futures} == {202}
    finally:
        os.kill(checker, signal.SIGCONT)


def test_the_defaults_are_those_of_the_asked_system() -> None:
    defaults = TrainRequest(model_name="m", task_prompt="Solve it.")
    assert (defaults.project, defaults.base_model) == ("default", "Qwen/Qwen2.5-7B-Instruct")
    assert (defaults.num_steps, defaults.batch_size, defaults.learning_rate) == (10, 8, 1e-5)
    assert (defaults.use_ruler, defaults.judge_model) == (True, "gpt-4o")
    assert (defaults.environment, defaults.rollouts_per_group) == ("prompt_task", 4)


def test_a_token_is_asked_for_and_appears_nowhere(start_service: Any, tmp_path: Path) -> None:
    secret = "sekrit-openai-value-77"
    environ = {"ART_SERVICE_TOKEN": TOKEN, "OPENAI_API_KEY": secret}
    # For other machines too: what checks requests is not given the token.
    service = start_service(environ | {"HOST": "0.0.0.0"}, log_level="debug", queue_limit=1)
    with httpx.Client(base_url=service.url, timeout=60) as http:
        for shown in ("", "Bearer", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}"):
            response = http.get("/models", headers={"Authorization": shown})
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == "Bearer"
        for path in ("/docs", "/openapi.json", "/metrics", "/nowhere", "/train/a/b/status"):
            assert http.get(path).status_code == 401
        assert http.get("/health").json()["openai_configured"] is True
        evil = {"Authorization": f"bearer {TOKEN}", "Host": "evil.example"}
        assert http.get("/models", headers=evil).status_code == 200
    assert service.client.models().total == 0
    # A judge that refuses the key and says it aloud is the worst that can happen.
    accepted = service.client.train(
        request(num_steps=1, use_ruler=True, base_model=POCKET, judge_model="openai/none")
    )
    until(service.worker)
    environ_of_worker = Path(f"/proc/{service.worker()}/environ").read_bytes()
    assert secret.encode() in environ_of_worker
    assert TOKEN.encode() not in environ_of_worker
    service.client.delete("default", accepted.model_name)
    service.terminate()
    for file in tmp_path.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert TOKEN.encode() not in content, file
            assert secret.encode() not in content, file


def test_too_many_requests_are_told_when_to_come_again(start_service: Any) -> None:
    service = start_service(None, requests_per_minute=60)
    with httpx.Client(base_url=service.url) as http:
        answers = [http.get("/models") for _ in range(80)]
        late = [answer for answer in answers if answer.status_code == 429]
        assert 1 <= len(late) <= 20
        assert int(late[0].headers["retry-after"]) >= 1
        assert http.get("/health").status_code == 200


def test_a_backend_that_cannot_work_here_is_said_before_a_job_is_taken(start_service: Any) -> None:
    service = start_service({"ART_BACKEND": "tinker"})
    with pytest.raises(ServiceError) as refused:
        service.client.train(request())
    assert refused.value.status == 503
    assert "TINKER_API_KEY" in refused.value.detail
    assert service.client.models().total == 0
