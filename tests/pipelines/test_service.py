"""The trained agent as a service: a real deployment by the command line, asked over HTTP."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import psutil
import pytest
from click.testing import CliRunner
from zenml.cli.cli import cli
from zenml.client import Client
from zenml.enums import ModelStages

from pipelines import deploy, deployed
from pipelines.config import ConfigError, DeploymentConfig, parse_config
from pipelines.inference import inference_pipeline
from steps.model_versions import MissingArtifact, trained_version
from tests.pipelines.conftest import Finished, Project, settings

MODEL = "email-agent"
NAME = "asked-by-tests"
_URL = re.compile(r"deployed +\S+ at (\S+)")


@dataclass(frozen=True)
class Service:
    """A deployment that runs."""

    name: str
    url: str
    out: str
    key: str | None

    @property
    def process(self) -> psutil.Process:
        return psutil.Process(Client().get_deployment(self.name).deployment_metadata["pid"])

    def request(
        self, method: str, path: str, key: str | None = None, **more: Any
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.request(method, self.url + path, headers=headers, timeout=30, **more)

    @property
    def example(self) -> dict[str, str]:
        return self.request("GET", "/examples", self.key).json()[0]

    def ask(self, **changes: Any) -> httpx.Response:
        question = {"parameters": self.example | changes}
        return self.request("POST", "/invoke", self.key, json=question)


def start(project: Project, name: str, *values: str) -> Service:
    ended = project.run(
        "--pipeline", "deploy", "--name", name, "--model-version", "1", *settings(*values)
    )
    assert ended.code == 0, ended.out + ended.err
    url = _URL.search(ended.out)
    assert url
    return Service(name, url[1], ended.out, Client().get_deployment(name).auth_key)


@pytest.fixture(scope="module")
def service(project: Project, finished: Finished) -> Iterator[Service]:
    service = start(project, NAME, "deployment.port=18480")
    yield service
    Client().deprovision_deployment(NAME)


@pytest.fixture(scope="module")
def guarded(project: Project, finished: Finished) -> Iterator[Service]:
    """One that wants a key and records its runs."""
    values = ("deployment.port=18490", "deployment.key=generate", "deployment.record_runs=true")
    service = start(project, "guarded", *values)
    yield service
    Client().deprovision_deployment("guarded")


def zenml(*arguments: str) -> str:
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_without_a_version_in_production_there_is_nothing_to_deploy(
    project: Project, finished: Finished
) -> None:
    version = Client().get_model_version(MODEL, 1)
    if version.stage == ModelStages.PRODUCTION:
        version.set_stage(ModelStages.ARCHIVED, force=True)
    ended = project.run("--pipeline", "deploy", "--name", "none")
    assert ended.code == 2
    assert "no version of email-agent is in production" in ended.message
    assert "--model-version" in ended.message
    with pytest.raises(MissingArtifact, match="in production"):
        inference_pipeline.deploy("none")
    with pytest.raises(KeyError):
        Client().get_deployment("none")


def test_the_printed_curl_gets_an_answer(service: Service) -> None:
    command = service.out[service.out.index("curl ") :].strip()
    done = subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=60)
    envelope = json.loads(done.stdout)
    assert envelope["success"] is True
    assert envelope["error"] is None
    assert envelope["metadata"]["deployment_name"] == NAME
    outputs = envelope["outputs"]
    assert set(outputs) == {
        "question", "answer", "source_ids", "success", "reason", "checkpoint", "turns", "latency_ms",
    }  # fmt: skip
    assert outputs["question"] == service.example["question"]
    assert outputs["latency_ms"] <= 1000 * envelope["execution_time"]
    if outputs["success"]:
        assert outputs["source_ids"]
        assert outputs["reason"] is None
    else:
        assert outputs["source_ids"] == []
        assert outputs["reason"]


def test_an_answer_leads_to_its_checkpoint_and_its_mails(
    service: Service, finished: Finished
) -> None:
    checkpoint = service.ask().json()["outputs"]["checkpoint"]
    assert checkpoint["model"] == MODEL
    assert checkpoint["version"] == "1"
    assert checkpoint["run"] == finished.folder.name
    assert checkpoint["step"] == finished.summary["train"]["steps"]
    metadata = trained_version(MODEL, "1").run_metadata
    assert checkpoint["trained_on"] == metadata["data"]["database"]
    assert service.request("GET", "/about").json() == {
        "deployment": NAME,
        "key_required": False,
        "checkpoint": checkpoint,
    }


def test_zenml_knows_the_deployment(service: Service) -> None:
    assert NAME in zenml("deployment", "list")
    assert service.url in zenml("deployment", "describe", NAME)
    arguments = [f"--{key}={value}" for key, value in service.example.items()]
    answer = zenml("deployment", "invoke", NAME, *arguments)
    assert service.example["question"] in answer
    assert "answered in" in zenml("deployment", "logs", NAME)


def test_no_question_is_logged(service: Service) -> None:
    service.ask(question="What is the meaning of the word zymurgy?")
    assert "zymurgy" not in zenml("deployment", "logs", NAME)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"question": ""}, "question"),
        ({"question": "   "}, "question"),
        ({"question": "x" * 100_000}, "question"),
        ({"question": 7}, "question"),
        ({"query_date": "2001-02-30"}, "query_date"),
        ({"query_date": "tomorrow"}, "query_date"),
        ({"inbox_address": None}, "inbox_address"),
        ({"inbox_address": "nobody@nowhere.example"}, "inbox_address"),
        ({"inbox": "a@b.c"}, "inbox"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_field_is_named(service: Service, changes: dict[str, Any], field: str) -> None:
    for path in ("/invoke", "/submit", "/stream"):
        question = {"parameters": service.example | changes}
        answer = service.request("POST", path, json=question)
        assert answer.status_code == 422
        assert answer.json()["detail"][0]["loc"][-1] == field
        others = {
            example["inbox_address"] for example in service.request("GET", "/examples").json()
        }
        assert not any(inbox in answer.text for inbox in others)


def test_a_missing_field_is_named(service: Service) -> None:
    question = service.example
    del question["query_date"]
    answer = service.request("POST", "/invoke", json={"parameters": question})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "parameters", "query_date"]


def test_the_stream_shows_the_work_and_ends_with_the_same_answer(service: Service) -> None:
    answer = service.request("POST", "/stream", json={"parameters": service.example})
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = re.findall(r"event: (\w+)\ndata: (.+)\n\n", answer.text)
    assert events[-1][0] == "answer"
    assert "search" in [name for name, _ in events]
    last = json.loads(events[-1][1])
    sources = last.pop("sources")
    outputs = service.ask().json()["outputs"]
    assert last | {"latency_ms": 0} == outputs | {"latency_ms": 0}
    assert [source["message_id"] for source in sources] == outputs["source_ids"]


def test_a_submitted_question_becomes_a_run_of_its_model_version(service: Service) -> None:
    run_id = service.request("POST", "/submit", json={"parameters": service.example}).json()[
        "run_id"
    ]
    deadline = time.monotonic() + 60
    while not (run := Client().get_pipeline_run(run_id)).status.is_finished:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert run.status == "completed"
    assert run.model_version.number == 1
    outputs = run.steps["run_single_inference"].outputs
    assert outputs["answer"][0].load() == service.ask().json()["outputs"]["answer"]


def test_the_page_loads_nothing_from_elsewhere(service: Service) -> None:
    page = service.request("GET", "/")
    assert "text/html" in page.headers["content-type"]
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page.text)


def test_another_name_for_this_machine_is_refused(service: Service) -> None:
    answer = httpx.get(service.url + "/about", headers={"Host": "evil.example"})
    assert answer.status_code == 421
    assert (
        "Access-Control-Allow-Origin"
        not in httpx.get(service.url + "/about", headers={"Origin": "https://evil.example"}).headers
    )


def test_only_who_shows_the_key_is_answered(guarded: Service) -> None:
    question = {"parameters": guarded.example}
    posts = [("POST", path, {"json": question}) for path in ("/invoke", "/submit", "/stream")]
    for method, path, body in [*posts, ("GET", "/examples", {})]:
        for key in (None, "wrong", guarded.key + "x"):  # type: ignore[operator]
            assert guarded.request(method, path, key, **body).status_code == 401
    for path in ("/", "/about", "/health"):
        assert guarded.request("GET", path).status_code == 200
    assert guarded.request("GET", "/about").json()["key_required"] is True
    assert f"Bearer {guarded.key}" in guarded.out


def test_where_runs_are_recorded_an_answer_names_its_run(guarded: Service) -> None:
    body = {"parameters": guarded.example, "run_name": "a-question"}
    envelope = guarded.request("POST", "/invoke", guarded.key, json=body).json()
    assert envelope["metadata"]["run_name"] == "a-question"
    run = Client().get_pipeline_run(envelope["metadata"]["run_id"])
    outputs = run.steps["run_single_inference"].outputs
    for name in ("answer", "source_ids", "checkpoint"):
        assert outputs[name][0].load() == envelope["outputs"][name]
    again = guarded.request("POST", "/submit", guarded.key, json=body)
    assert again.status_code == 409
    assert "run_name" in again.json()["detail"]


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        (["deployment.host=0.0.0.0"], "deployment.key is required"),
        (["deployment.key=hunter2"], "keys do not belong in files"),
        (["deployment.key=$NOT_SET_HERE"], "NOT_SET_HERE is not set"),
        (["stack=nowhere"], "no stack nowhere"),
    ],
    ids=str,
)
def test_what_must_not_be_deployed_is_refused_first(
    project: Project, finished: Finished, values: list[str], fault: str
) -> None:
    ended = project.run("--pipeline", "deploy", "--model-version", "1", *settings(*values))
    assert ended.code == 2
    assert fault in ended.message
    assert "hunter2" not in ended.err.replace("--set", "")


def test_a_version_that_is_not_there_is_named(project: Project, finished: Finished) -> None:
    ended = project.run("--pipeline", "deploy", "--model-version", "99")
    assert ended.code == 2
    assert "no version 99 of email-agent" in ended.message


def test_a_service_that_does_not_start_says_why(
    project: Project, finished: Finished, tmp_path: Any
) -> None:
    adapter = trained_version(MODEL, "1").get_artifact("adapter")
    weights = adapter.load() / "adapter_model.safetensors"
    kept = weights.read_bytes()
    weights.write_bytes(b"broken")
    try:
        started = time.monotonic()
        ended = project.run("--pipeline", "deploy", "--name", "broken", "--model-version", "1")
    finally:
        weights.write_bytes(kept)
    assert ended.code == 2
    assert "does not fit" in ended.message
    assert "zenml deployment logs broken" in ended.message
    assert time.monotonic() - started < 60


def test_a_key_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "s3cret")
    assert deploy.deployment_key(DeploymentConfig(key="$SOME_KEY")) == "s3cret"
    assert deploy.deployment_key(DeploymentConfig(key="generate")) is None
    monkeypatch.delenv("SOME_KEY")
    with pytest.raises(ConfigError, match="SOME_KEY"):
        deploy.deployment_key(DeploymentConfig(key="$SOME_KEY"))


def test_zenml_settings_are_handed_on() -> None:
    config = parse_config(
        {
            "settings": {"deployer": {"lcm_timeout": 9}, "resources": {"cpu_count": 2}},
            "deployment": {"port": 9999, "key": "generate"},
        }
    )
    local = deploy.zenml_settings(config, "local", None)
    assert local["deployer.local"] == {
        "lcm_timeout": 9,
        "auth_key": None,
        "generate_auth_key": True,
        "address": "127.0.0.1",
        "port": 9999,
    }
    assert local["resources"] == {"cpu_count": 2}
    cluster = deploy.zenml_settings(config, "kubernetes", "k")
    assert cluster["deployer.kubernetes"] == {
        "lcm_timeout": 9,
        "auth_key": "k",
        "generate_auth_key": True,
    }


def test_a_service_out_of_reach_is_still_told_of() -> None:
    unreachable = deployed.Deployed("far", "http://10.0.0.9:8000", "k", 3.2, None, None)
    text = "\n".join(deployed.lines(unreachable))
    assert "far at http://10.0.0.9:8000" in text
    assert "Authorization: Bearer k" in text


def promote(number: int, when: str) -> None:
    version = Client().get_model_version(MODEL, number)
    version.set_stage(ModelStages.PRODUCTION, force=True)
    Client().create_run_metadata(metadata={"promoted_at": when}, resources=[_resource(version.id)])


def _resource(version_id: Any) -> Any:
    from zenml.enums import MetadataResourceTypes
    from zenml.models import RunMetadataResource

    return RunMetadataResource(id=version_id, type=MetadataResourceTypes.MODEL_VERSION)


@pytest.fixture
def three_versions(finished: Finished) -> Iterator[list[int]]:
    """Three that were promoted one after the other, all with the first one's adapter."""
    client = Client()
    adapter = trained_version(MODEL, "1").get_artifact("adapter")
    model = client.get_model(MODEL)
    made = [client.create_model_version(MODEL, name=f"later-{n}") for n in (1, 2)]
    for version in made:
        link = {"artifact_version": adapter.id, "model_version": version.id}
        from zenml.models import ModelVersionArtifactRequest

        client.zen_store.create_model_version_artifact_link(ModelVersionArtifactRequest(**link))
    assert model is not None
    numbers = [1, *(version.number for version in made)]
    for number in numbers:
        promote(number, f"2026-01-0{number}T00:00:00")
    yield numbers
    for version in made:
        client.delete_model_version(version.id)
    first = client.get_model_version(MODEL, 1)
    first.set_stage(ModelStages.ARCHIVED, force=True)


def test_a_rollback_puts_the_version_before_back_and_serves_it(
    project: Project, service: Service, three_versions: list[int]
) -> None:
    first, second, third = three_versions
    assert deploy.previous_production(MODEL).number == second
    ended = project.run(
        "--pipeline", "rollback", "--name", NAME, *settings("deployment.port=18480")
    )
    assert ended.code == 0, ended.err
    assert f"version {second} of email-agent" in ended.out
    assert service.request("GET", "/about").json()["checkpoint"]["version"] == str(second)
    assert Client().get_model_version(MODEL, second).stage == ModelStages.PRODUCTION
    assert Client().get_model_version(MODEL, third).stage == ModelStages.ARCHIVED
    # Once more goes one further, not back and forth.
    assert deploy.previous_production(MODEL).number == first
    promoted = Client().get_model_version(MODEL, first)
    promoted.set_stage(ModelStages.PRODUCTION, force=True)
    with pytest.raises(MissingArtifact, match="the first in production"):
        deploy.previous_production(MODEL)


def test_sigterm_under_load_loses_no_request(project: Project, finished: Finished) -> None:
    service = start(project, "ending", "deployment.port=18500")
    question = {"parameters": service.example}
    process = service.process
    below = process.children(recursive=True)

    def ask(_: int) -> int | str:
        try:
            return service.request("POST", "/invoke", json=question).status_code
        except httpx.ConnectError:
            return "closed"

    with ThreadPoolExecutor(24) as clients:
        asking = clients.map(ask, range(120))
        time.sleep(1)
        started = time.monotonic()
        os.kill(process.pid, signal.SIGTERM)
        answers = list(asking)
    psutil.wait_procs([process, *below], timeout=10)  # configs/deployment_k8s.yaml counts on ten
    assert time.monotonic() - started < 10
    assert not any(each.is_running() and each.status() != "zombie" for each in [process, *below])
    assert answers.count(200) > 0
    assert set(answers) <= {200, 503, "closed"}
