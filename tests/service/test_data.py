"""What environments need, made by a worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.hosted.llm import LlmFailed
from backends import BackendConfig
from environment.base import UserError
from environment.email_search.config import EmailDataConfig
from environment.prompt_task.examples import ExampleError, read_examples
from service.data import prepare, written_by_model
from service.plan import Plan
from tests.fakes.completions import http_error
from tests.fakes.example_server import ExampleServer, always, fresh
from training.config import RolloutConfig


def plan(environment: dict[str, Any], **data: Any) -> Plan:
    return Plan(
        project="p",
        name="m",
        seed=0,
        backend=BackendConfig(),
        rollout=RolloutConfig(),
        environment=environment,
        data=data,
    )


def written(count: int, **writer: Any) -> Plan:
    """The plan of a job whose examples a model writes."""
    task = {"name": "prompt_task", "task_prompt": "Add.", "verifier": "numeric"}
    return plan(task, write=count, writer=writer)


def inboxes(**data: Any) -> Plan:
    small = {"train_inboxes": 2, "test_inboxes": 2, "mails_per_inbox": 60}
    return plan({"name": "email_search"}, **small | data)


def test_no_examples_are_not_kept_for_good(tmp_path: Path) -> None:
    unusable = always(("What is 1 + 1?", "it depends"))
    with ExampleServer(*[unusable] * 4, fresh) as server:
        with pytest.raises(ExampleError, match="no example to train on") as failed:
            prepare(written(2, model="openai/poor", api_base=server.base_url), tmp_path)
        better = written(2, model="openai/better", api_base=server.base_url)
        artifacts = prepare(better, tmp_path)
    assert isinstance(failed.value, UserError), "it ends its job in a sentence"
    assert len(read_examples(artifacts["scenarios"])) == 2


def test_what_an_attempt_before_has_paid_for_examples_counts(tmp_path: Path) -> None:
    with ExampleServer(lambda a: fresh(a)[:5], lambda a: http_error(400), fresh) as server:
        made = written(
            10,
            model="openai/writer",
            api_base=server.base_url,
            usd_per_million_in=10,
            usd_per_million_out=10,
        )
        with pytest.raises(LlmFailed):
            prepare(made, tmp_path)
        prepare(made, tmp_path)
    report = written_by_model(made, tmp_path)
    assert report is not None
    assert (report["kept"], report["cached"], report["requests"]) == (10, 1, 2)
    assert report["cost_usd"] == pytest.approx(2 * 1_100 * 10 / 1e6)


def test_a_writer_of_unknown_price_is_reported_as_such(tmp_path: Path) -> None:
    with ExampleServer(fresh) as server:
        made = written(2, model="openai/writer", api_base=server.base_url)
        prepare(made, tmp_path)
    report = written_by_model(made, tmp_path)
    assert report is not None
    assert report["cost_usd"] is None


def test_the_stages_of_an_environment_are_made_once_and_only_what_it_opens_is_kept(
    tmp_path: Path,
) -> None:
    artifacts = prepare(inboxes(), tmp_path)
    assert artifacts.keys() == {"database", "scenarios"}
    assert not list(tmp_path.rglob("download_enron_data"))
    assert written_by_model(inboxes(), tmp_path) is None
    before = {path: path.stat().st_mtime_ns for path in artifacts.values()}
    assert prepare(inboxes(), tmp_path) == artifacts
    assert {path: path.stat().st_mtime_ns for path in artifacts.values()} == before
    other = prepare(inboxes(seed=1), tmp_path)
    assert not set(other.values()) & set(artifacts.values())


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"max_cost_usd": 9.0}, True),
        ({"concurrency": 1, "timeout_s": 5.0, "usd_per_million_in": 1.0}, True),
        ({"model": "openai/other"}, False),
        ({"api_base": "http://127.0.0.1:1/v1"}, False),
        ({"questions_per_inbox": 3}, False),
    ],
)
def test_what_decides_the_questions_of_a_writer_makes_other_data(
    changes: dict[str, Any], same: bool
) -> None:
    one, other = (
        inboxes(**EmailDataConfig.model_validate({"scenarios": "llm", "writer": w}).model_dump())
        for w in ({}, changes)
    )
    assert (one.lasting_data() == other.lasting_data()) == same
