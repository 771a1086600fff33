"""The data pipeline: an environment's stages as cached steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zenml import pipeline
from zenml.enums import ExecutionMode

from pipelines.config import ProjectConfig
from pipelines.placement import stages_of
from steps.data import arguments_of, step_of
from steps.model_versions import DATA_PIPELINE, data_tag

REPLIES = ".llm-replies"


def data_pipeline(config: ProjectConfig, runs: Path) -> Any:
    """The pipeline over the stages of the configured environment; call it without arguments.

    Args:
        runs: the folder of all runs.
    """
    # Outside the run's folder, so that other runs do not pay for the same replies.
    replies = runs / REPLIES
    stages = stages_of(config)

    @pipeline(
        name=DATA_PIPELINE,
        tags=[data_tag(config.environment.name)],
        enable_cache=True,
        execution_mode=ExecutionMode.FAIL_FAST,
    )
    def data_preparation() -> None:
        outputs: dict[str, Any] = {}
        for stage in stages:
            needed = {name: outputs[name] for name in stage.needs}
            outputs[stage.artifact] = step_of(stage)(**arguments_of(stage, replies), **needed)

    return data_preparation
