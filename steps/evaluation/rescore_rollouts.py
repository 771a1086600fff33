"""Score the rollouts of an earlier evaluation again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from zenml import step

from steps.evaluation.run_inference import EvaluateSettings
from steps.materializers import FileMaterializer, scratch_folder
from steps.open_environment import open_environment
from training.evaluation.compare import read_facts, write_rows
from training.evaluation.rescoring import read_stored, rescore


@step(enable_cache=False, output_materializers={"rescored_rows": FileMaterializer})
def rescore_rollouts(
    stored: Path,
    settings: EvaluateSettings,
    scenarios: Path | None = None,
    database: Path | None = None,
) -> tuple[Annotated[Path, "rescored_rows"], Annotated[dict[str, Any], "trained_model"]]:
    """The rows scored anew, and what was evaluated then.

    Raises:
        RescoreError: they cannot be scored.
    """
    rows = read_stored(stored)
    environment = open_environment(
        settings.environment,
        settings.environment_settings,
        settings.rollout.max_turns,
        {"scenarios": scenarios, "database": database},
    )
    try:
        rescored = rescore(rows, environment)
    finally:
        environment.close()
    facts = read_facts(stored)
    return write_rows(rescored, scratch_folder() / "rows.parquet", facts), facts
