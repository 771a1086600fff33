"""What environments need, made by a worker."""

from __future__ import annotations

from pathlib import Path

import pytest

from environment.language_model import LlmConfig, LlmFailed
from environment.prompt_task.examples import ExampleError, read_examples
from service.data import WRITTEN, Order, prepare, report_of
from tests.fakes.completions import http_error
from tests.fakes.example_server import ExampleServer, always, fresh


def test_no_examples_are_not_kept_for_good(tmp_path: Path) -> None:
    asked = {"task_prompt": "Add.", "count": 2, "verifier": "numeric"}
    unusable = always(("What is 1 + 1?", "it depends"))
    with ExampleServer(*[unusable] * 4, fresh) as server:

        def order(model: str) -> Order:
            writer = LlmConfig(model=f"openai/{model}", api_base=server.base_url)
            return Order({"name": "prompt_task"}, {WRITTEN: asked}, writer)

        with pytest.raises(ExampleError, match="no example to train on"):
            prepare(order("poor"), tmp_path)
        artifacts = prepare(order("better"), tmp_path)
    assert len(read_examples(artifacts["scenarios"])) == 2


def test_what_an_attempt_before_has_paid_for_examples_counts(tmp_path: Path) -> None:
    asked = {"task_prompt": "Add.", "count": 10, "verifier": "numeric"}
    with ExampleServer(lambda a: fresh(a)[:5], lambda a: http_error(400), fresh) as server:
        writer = LlmConfig(
            model="openai/writer",
            api_base=server.base_url,
            usd_per_million_in=10,
            usd_per_million_out=10,
        )
        order = Order({"name": "prompt_task"}, {WRITTEN: asked}, writer)
        with pytest.raises(LlmFailed):
            prepare(order, tmp_path)
        prepare(order, tmp_path)
    report = report_of(order, tmp_path)
    assert report is not None
    assert (report["kept"], report["cached"], report["requests"]) == (10, 1, 2)
    assert report["cost_usd"] == pytest.approx(2 * 1_100 * 10 / 1e6)
