"""What environments need, made by a worker."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.llm import LlmConfig, LlmFailed
from service.data import WRITTEN, Order, prepare, report_of
from tests.fakes.completions import http_error
from tests.fakes.example_server import ExampleServer, fresh


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
