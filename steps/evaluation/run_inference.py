"""Run base, trained policy and incumbent on the same held-out scenarios."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

from zenml import step

from backends.config import BackendConfig
from environment.base import StrictModel
from steps.materializers import FileMaterializer, scratch_folder
from steps.open_environment import open_environment
from training.compare import run_policies, write_rows
from training.config import EvaluationConfig, RolloutConfig


class EvaluateSettings(StrictModel):
    """The settings of an evaluation, as a step parameter."""

    project: str
    seed: int
    environment: str
    environment_settings: dict[str, Any]
    backend: BackendConfig
    evaluation: EvaluationConfig
    rollout: RolloutConfig


@step(enable_cache=False, output_materializers={"evaluation_rows": FileMaterializer})
def run_inference(
    trained_model: dict[str, Any],
    adapter: Path,
    settings: EvaluateSettings,
    scenarios: Path | None = None,
    database: Path | None = None,
    incumbent: Path | None = None,
) -> Annotated[Path, "evaluation_rows"]:
    """One row per rollout, each policy greedy and sampled."""
    environment = open_environment(
        settings.environment,
        settings.environment_settings,
        settings.rollout.max_turns,
        {"scenarios": scenarios, "database": database},
    )
    adapters: dict[str, Path | None] = {"base": None, "trained": adapter}
    if incumbent is not None:
        adapters["incumbent"] = incumbent
    try:
        rows = asyncio.run(
            run_policies(
                adapters,
                environment,
                settings.backend,
                settings.rollout,
                settings.evaluation,
                settings.seed,
                scratch_folder(),
            )
        )
    finally:
        environment.close()
    return write_rows(rows, scratch_folder() / "rows.parquet")
