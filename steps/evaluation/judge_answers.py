"""Have a judge verify every answer of an evaluation."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Annotated, Literal

from zenml import step

from agent.hosted.llm import LanguageModel
from agent.judge import CorrectnessJudge
from steps.materializers import FileMaterializer, scratch_folder
from training.evaluation.compare import read_facts, read_rows, write_rows
from training.evaluation.correctness import judge_rows
from training.spec import EvaluationSpec

log = logging.getLogger(__name__)


@step(enable_cache=False, output_materializers={"judged_rows": FileMaterializer})
def judge_answers(rows: Path, spec: EvaluationSpec) -> Annotated[Path, "judged_rows"]:
    """The rows with verdicts, which replace ``success`` if so configured."""
    decides: Literal["judge", "match"] = (
        "judge" if spec.evaluation.correctness == "judge" else "match"
    )
    llm = LanguageModel(spec.judge)
    judged = asyncio.run(judge_rows(read_rows(rows), CorrectnessJudge(llm), decides))
    log.info("judge: %d requests, %.4f USD", llm.usage.requests, llm.usage.cost_usd)
    return write_rows(judged, scratch_folder() / "rows.parquet", read_facts(rows))
