"""Whole runs on the vendors' backends, against servers on loopback that speak their APIs."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from backends.loading import load_tokenizer
from tests.backends.test_contract import WandbArtifacts
from tests.fakes.tinker_server import KEY, TinkerServer
from tests.fakes.vllm_server import writes
from tests.fakes.wandb_server import WandbServer
from tests.training.world import (
    BACKEND,
    GROUPS,
    POCKET,
    SIZE,
    RankedEnvironment,
    run_spec,
    train_run,
)
from training.run.runner import RunOutput
from training.run.store import read_policy_record

ANSWER = (
    '<tool_call>\n{"name": "return_final_answer_tool", "arguments": '
    '{"answer": "May 3", "source_message_ids": []}}\n</tool_call>'
)


def run(kind: str, folder: Path, environment: RankedEnvironment, **changes: object) -> RunOutput:
    backend = BACKEND.model_copy(update={"kind": kind})
    spec = run_spec(**{"max_steps": 1} | changes)  # type: ignore[arg-type]
    return train_run(spec.model_copy(update={"backend": backend}), folder, environment)


@pytest.fixture
def tinker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINKER_API_KEY", KEY)
    monkeypatch.setenv("TINKER_TELEMETRY", "0")


@pytest.mark.usefixtures("tinker")
def test_a_run_at_tinker_is_exact_and_leaves_its_adapter(
    environment: RankedEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TinkerServer(BACKEND) as server:
        monkeypatch.setenv("TINKER_BASE_URL", server.url)
        output = run("tinker", tmp_path, environment)
    (record,) = output.result.records
    assert record["data/dropped"] == {}
    assert record["data/step_trained_trajectories"] == GROUPS * SIZE
    assert record["loss/probs_corr"] > 0.999
    assert read_policy_record(output.adapter).step == 1
    assert "retokenises the conversations" not in output.report


def test_a_run_at_wandb_trains_and_says_that_it_may_not_be_exact(
    environment: RankedEnvironment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    import art.serverless.backend as arts
    from art.serverless.client import Client

    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setattr("wandb.Api", WandbArtifacts)
    monkeypatch.setattr("training.run.runner.Tracker", Untracked)
    with (
        WandbServer(load_tokenizer(str(POCKET)), writes(ANSWER)) as server,
        caplog.at_level(logging.WARNING),
    ):
        monkeypatch.setattr(arts, "Client", lambda **_: Client(base_url=server.base_url))
        output = run("serverless", tmp_path, environment)
    (record,) = output.result.records
    assert record["data/step_trained_trajectories"] == GROUPS * SIZE
    assert "loss/probs_corr" not in record
    assert len(server.jobs) == 1
    said = [message for message in caplog.messages if "retokenises the conversations" in message]
    assert len(said) == 1
    assert "retokenises the conversations" in output.report


class Untracked:
    """W&B's own servers are out of reach."""

    def __init__(self, *_: object) -> None: ...

    def log(self, record: object) -> None: ...

    def close(self) -> None: ...
