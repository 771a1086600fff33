"""Train the agent on the newest data; each run makes a version of the model."""

from __future__ import annotations

from typing import Any

from zenml import pipeline
from zenml.enums import ExecutionMode

from steps.training import setup_art_model, train_agent
from steps.training.train_agent import TrainSettings


# Not the default mode: that one replaces a step's error by its own, which has no cause in it.
@pipeline(name="training", execution_mode=ExecutionMode.FAIL_FAST)
def training_pipeline(settings: TrainSettings, scenarios: Any = None, database: Any = None) -> None:
    """
    Args:
        scenarios, database: artifact versions of the data pipeline, where the environment has one.
    """
    policy_spec = setup_art_model(backend=settings.backend)
    train_agent(policy_spec=policy_spec, scenarios=scenarios, database=database, settings=settings)
