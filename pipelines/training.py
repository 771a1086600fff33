"""The training pipeline; each run makes a version of the model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zenml import pipeline
from zenml.enums import ExecutionMode

from steps.training.setup_art_model import setup_art_model
from steps.training.train_agent import TRAIN_AGENT
from training.spec import RunSpec


def training_pipeline(spec: RunSpec, run_folder: Path | None, data: Mapping[str, Any]) -> Any:
    """The pipeline; call it without arguments.

    Args:
        run_folder: None if the training step runs on another machine.
        data: artifact versions of the data pipeline, by name.
    """

    # The default mode would replace a step's error by its own, without the cause.
    @pipeline(execution_mode=ExecutionMode.FAIL_FAST)
    def training() -> None:
        policy_spec = setup_art_model(backend=spec.backend)
        TRAIN_AGENT.taking(data)(policy_spec=policy_spec, spec=spec, run_folder=run_folder, **data)

    return training
