"""Train the agent on the newest data; each run makes a version of the model."""

from __future__ import annotations

from typing import Any

from zenml import pipeline

from steps.training import setup_art_model, train_agent
from steps.training.train_agent import TrainSettings


@pipeline(name="training")
def training_pipeline(settings: TrainSettings, scenarios: Any = None, database: Any = None) -> None:
    """
    Args:
        scenarios, database: artifact versions of the data pipeline, where the environment has one.
    """
    policy_spec = setup_art_model(backend=settings.backend)
    train_agent(policy_spec=policy_spec, scenarios=scenarios, database=database, settings=settings)
