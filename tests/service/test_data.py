"""What environments need, made by a worker."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.config import BackendConfig
from environment.language_model import LlmConfig, LlmFailed
from environment.prompt_task.examples import ExampleError, read_examples
from service.data import prepare, written_by_model
from service.plan import Plan
from tests.fakes.completions import http_error
from tests.fakes.example_server import ExampleServer, always, fresh
from training.config import RolloutConfig, TrainingConfig


def planned(count: int, writer: LlmConfig) -> Plan:
    return Plan(
        project="default",
        name="adder",
        seed=0,
        environment={"name": "prompt_task", "task_prompt": "Add.", "verifier": "numeric"},
        backend=BackendConfig(),
        training=TrainingConfig(),
        rollout=RolloutConfig(),
        data={"write": count, "writer": writer.model_dump(mode="json")},
    )


def test_no_examples_are_not_kept_for_good(tmp_path: Path) -> None:
    unusable = always(("What is 1 + 1?", "it depends"))
    with ExampleServer(*[unusable] * 4, fresh) as server:

        def order(model: str) -> Plan:
            return planned(2, LlmConfig(model=f"openai/{model}", api_base=server.base_url))

        with pytest.raises(ExampleError, match="no example to train on"):
            prepare(order("poor"), tmp_path)
        artifacts = prepare(order("better"), tmp_path)
    assert len(read_examples(artifacts["scenarios"])) == 2


def test_what_an_attempt_before_has_paid_for_examples_counts(tmp_path: Path) -> None:
    with ExampleServer(lambda a: fresh(a)[:5], lambda a: http_error(400), fresh) as server:
        writer = LlmConfig(
            model="openai/writer",
            api_base=server.base_url,
            usd_per_million_in=10,
            usd_per_million_out=10,
        )
        order = planned(10, writer)
        with pytest.raises(LlmFailed):
            prepare(order, tmp_path)
        prepare(order, tmp_path)
    report = written_by_model(order, tmp_path)
    assert report is not None
    assert (report["kept"], report["cached"], report["requests"]) == (10, 1, 2)
    assert report["cost_usd"] == pytest.approx(2 * 1_100 * 10 / 1e6)
