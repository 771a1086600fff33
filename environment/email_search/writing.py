"""The ``write_scenarios`` stage: a language model writes scenarios."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

from environment.email_search import writer
from environment.email_search.email_db import EmailDatabase
from environment.email_search.models import EmailScenario, counts_text
from environment.email_search.scenarios import ScenarioError, read_scenarios
from environment.email_search.writer import WriterConfig, WriterReport
from environment.jsonl import write_jsonl
from environment.package import Work

log = logging.getLogger(__name__)

_SCENARIOS, _REPORT = "scenarios.jsonl", "report.json"


def write_scenarios(work: Work, settings: WriterConfig, database: Path) -> dict[str, Any]:
    """
    Raises:
        ScenarioError: no question is usable.
        LlmFailed: the model fails persistently.
    """
    mails = EmailDatabase(database)
    model = work.ask(settings)
    progress = work.progress(
        writer.questions_wanted(settings, mails), "write scenarios", "question"
    )

    def advance(done: int) -> None:
        cost = {"USD": f"{model.usage.cost_usd:.2f}"} if model.priced else {}
        progress.advance({"requests": str(model.usage.requests)} | cost, done)

    try:
        scenarios, report = asyncio.run(writer.write_scenarios(settings, model, mails, advance))
    finally:
        progress.close()
        mails.close()
    _check(report, settings)
    work.out.mkdir()
    write_jsonl(work.out / _SCENARIOS, scenarios)
    (work.out / _REPORT).write_text(report.model_dump_json())
    return report.model_dump(exclude_none=True)


def read_written(folder: Path) -> list[EmailScenario]:
    return read_scenarios(folder / _SCENARIOS)


def report_of(folder: Path) -> WriterReport:
    return WriterReport.model_validate_json((folder / _REPORT).read_text())


def _check(report: WriterReport, settings: WriterConfig) -> None:
    reasons = counts_text(report.left_out) or "none rejected"
    if not report.kept:
        failed = f", {report.batches_failed} batches without a reply" * bool(report.batches_failed)
        raise ScenarioError(
            f"{report.model} wrote no usable question ({reasons}{failed}; ended by "
            f"{report.ended_by}, {report.inboxes} inboxes)"
        )
    log.info("%s wrote %d questions; %s", report.model, report.kept, reasons)
    if report.batches_failed:
        log.warning(
            "%d of %d batches had no usable reply; retry them with --no-cache",
            report.batches_failed,
            report.batches,
        )
    if report.ended_by == "budget":
        log.warning(
            "%s has spent its budget (%g USD) after %d questions. For more, raise "
            "data.writer.max_cost_usd; cached replies are not paid for again",
            report.model,
            settings.max_cost_usd,
            report.kept,
        )
