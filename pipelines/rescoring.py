"""Find the rollouts of an earlier evaluation and rescore them."""

from __future__ import annotations

import time
from pathlib import Path

from pipelines.config import ConfigError
from pipelines.evaluation_results import ROLLOUTS, keep_evaluation
from pipelines.launch import Run, evaluation_spec
from steps.model_versions import data_artifacts


def find_rollouts(named: str, runs: Path, cwd: Path) -> Path:
    """The rollouts of a run, or a file of rollouts.

    Raises:
        ConfigError: there is neither.
    """
    for path in (runs / named / ROLLOUTS, cwd / named / ROLLOUTS, cwd / named):
        if path.is_file():
            return path
    raise ConfigError(
        f"--rescore {named}: there is neither a run {named} with an evaluation "
        f"(runs/{named}/{ROLLOUTS}) nor such a file"
    )


def run_rescore(run: Run, rollouts: Path) -> None:
    """Raises ``RescoreError`` if they cannot be scored."""
    from zenml import save_artifact

    from pipelines.evaluation import rescoring_pipeline
    from steps.materializers import FileMaterializer

    data = data_artifacts(run.config.environment.name)
    started = time.monotonic()
    stored = save_artifact(rollouts, "stored_rollouts", materializer=FileMaterializer)
    pipeline_run = rescoring_pipeline(evaluation_spec(run, {}), stored, data)()
    run.summary["seconds"]["eval"] = round(time.monotonic() - started, 1)
    keep_evaluation(run.folder, run.summary, pipeline_run, "rescore_rollouts", "rescored_rows")
