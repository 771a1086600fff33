"""Let a language model write scenarios from the mails."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Annotated

from zenml import log_metadata, step
from zenml.config.cache_policy import CachePolicy

from agent.hosted.llm import LanguageModel
from environment.email_search import writer as scenario_writer
from environment.email_search.email_db import EmailDatabase
from environment.email_search.scenarios import ScenarioError, write_jsonl
from environment.email_search.writer import ScenariosReport, WriterConfig
from steps.materializers import FileMaterializer, scratch_folder
from training.run.progress import Progress

log = logging.getLogger(__name__)

SCENARIOS, REPORT = "scenarios.jsonl", "report.json"


@step(
    output_materializers={"written_scenarios": FileMaterializer},
    cache_policy=CachePolicy(
        source_dependencies=[
            "environment.email_search.batches",
            "environment.email_search.drafts",
            "environment.email_search.evidence",
            "environment.email_search.matching",
            "environment.email_search.synthesis",
            "environment.email_search.writer",
            "environment.email_search.writer_prompts",
        ],
    ),
)
def write_scenarios(
    database: Path, writer: WriterConfig, replies: Path
) -> Annotated[Path, "written_scenarios"]:
    """
    Args:
        replies: a folder that outlives this run and keeps what the model said, so that a run that
            was killed goes on where it stopped and pays for nothing twice.

    Raises:
        ScenarioError: no question can be used.
        LlmFailed: the model is out of order.
    """
    mails = EmailDatabase(database)
    progress = Progress(
        scenario_writer.questions_wanted(writer, mails), "write scenarios", "question"
    )
    model = LanguageModel(writer, replies)

    def tell(done: int) -> None:
        cost = {"USD": f"{model.usage.cost_usd:.2f}"} if model.priced else {}
        progress.advance({"requests": str(model.usage.requests)} | cost, done)

    try:
        scenarios, report = asyncio.run(scenario_writer.write_scenarios(writer, model, mails, tell))
    finally:
        progress.close()
        mails.close()
    _tell(report, writer)
    folder = scratch_folder()
    write_jsonl(folder / SCENARIOS, scenarios)
    (folder / REPORT).write_text(report.model_dump_json())
    log_metadata(
        report.model_dump(exclude_none=True), artifact_name="written_scenarios", infer_artifact=True
    )
    return folder


def report_of(written: Path) -> ScenariosReport:
    return ScenariosReport.model_validate(json.loads((written / REPORT).read_text()))


def _tell(report: ScenariosReport, writer: WriterConfig) -> None:
    reasons = ", ".join(f"{n} {reason}" for reason, n in report.left_out.items()) or "none left out"
    if not report.kept:
        failed = f", {report.batches_failed} batches without a reply" * bool(report.batches_failed)
        raise ScenarioError(
            f"{report.model} wrote no question that can be used ({reasons}{failed}; ended by "
            f"{report.ended_by}, {report.inboxes} inboxes)"
        )
    log.info("%s wrote %d questions; %s", report.model, report.kept, reasons)
    if report.batches_failed:
        log.warning(
            "%d of %d batches had no usable reply; --no-cache asks for these once more",
            report.batches_failed,
            report.batches,
        )
    if report.ended_by == "budget":
        log.warning(
            "%s has cost all it may (%g USD): %d questions are kept. For more, set "
            "scenario_writer.max_cost_usd higher; no reply is paid for twice",
            report.model,
            writer.max_cost_usd,
            report.kept,
        )
