"""Rescore the rollouts of an earlier evaluation."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

from zenml.steps import BaseStep

from steps.by_name import StepByName
from steps.materializers import FileMaterializer, scratch_folder
from training.evaluation.compare import read_facts, write_rows
from training.evaluation.rescoring import read_stored, rescore
from training.spec import EvaluationSpec


def rescore_rollouts(
    stored: Path, spec: EvaluationSpec, artifacts: dict[str, Path]
) -> tuple[Annotated[Path, "rescored_rows"], Annotated[dict[str, Any], "trained_model"]]:
    """The rescored rows, and the record of the model that was evaluated.

    Raises:
        RescoreError: see there.
    """
    rows = read_stored(stored)
    with closing(spec.open_environment(artifacts)) as environment:
        rescored = rescore(rows, environment)
        facts = read_facts(stored) | {"meanings": environment.meanings}
    return write_rows(rescored, scratch_folder() / "rows.parquet", facts), facts


RESCORE_ROLLOUTS = StepByName(
    rescore_rollouts, enable_cache=False, output_materializers={"rescored_rows": FileMaterializer}
)


def __getattr__(attribute: str) -> BaseStep:
    return RESCORE_ROLLOUTS.find(attribute)
