"""Run base, trained policy, incumbent and other models on the same held-out scenarios."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

from zenml import step

from agent.judge import JudgeConfig
from backends.config import BackendConfig
from environment.base import StrictModel
from steps.evaluation.load_trained_model import check_adapter
from steps.materializers import FileMaterializer, scratch_folder
from steps.model_versions import adapter_of, model_version
from steps.open_environment import open_environment
from training.config import EvaluationConfig, RolloutConfig
from training.evaluation.compare import run_policies, write_rows


class EvaluateSettings(StrictModel):
    """The settings of an evaluation, as a step parameter.

    Args:
        versions: other versions of the model to evaluate, by label.
    """

    project: str
    model_name: str
    seed: int
    environment: str
    environment_settings: dict[str, Any]
    backend: BackendConfig
    evaluation: EvaluationConfig
    rollout: RolloutConfig
    judge: JudgeConfig
    versions: dict[str, int]


@step(enable_cache=False, output_materializers={"evaluation_rows": FileMaterializer})
def run_inference(
    trained_model: dict[str, Any],
    adapter: Path,
    settings: EvaluateSettings,
    scenarios: Path | None = None,
    database: Path | None = None,
    incumbent: Path | None = None,
) -> Annotated[Path, "evaluation_rows"]:
    """One row per rollout: our policies greedy and sampled, hosted models as configured.

    Raises:
        BackendError: a version was trained on another base model.
    """
    environment = open_environment(
        settings.environment,
        settings.environment_settings,
        settings.rollout.max_turns,
        {"scenarios": scenarios, "database": database},
    )
    adapters: dict[str, Path | None] = {"base": None, "trained": adapter}
    if incumbent is not None:
        adapters["incumbent"] = incumbent
    for label, number in settings.versions.items():
        other = adapter_of(model_version(settings.model_name, str(number))).load()
        check_adapter(other, settings.backend)
        adapters[label] = other
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
    return write_rows(rows, scratch_folder() / "rows.parquet", trained_model)
