"""The specification of a run, validated and serialisable: one object is the step's parameter, the
training service's stored plan and the runner's argument."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from agent.judge.config import JudgeConfig
from backends.config import BackendConfig
from environment.base import Environment, StrictModel
from environment.registry import environment_package
from training.config import EvaluationConfig, RolloutConfig, TrainingConfig

# May change between the attempts of a run.
_FREE_SETTINGS = {
    "max_steps",
    "budget",
    "empty_steps_limit",
    "keep_checkpoints",
    "min_probs_corr",
    "on_mismatch",
}
_JUDGES_SCORES = {"model", "api_base", "window_tokens", "second_order_share"}


class _Spec(StrictModel):
    project: str
    seed: int
    environment: dict[str, Any]  # its settings, including its name
    backend: BackendConfig
    rollout: RolloutConfig
    judge: JudgeConfig = JudgeConfig()

    @field_validator("environment")
    @classmethod
    def _is_valid(cls, settings: dict[str, Any]) -> dict[str, Any]:
        package = environment_package(str(settings.get("name")))
        return package.config.model_validate(settings).model_dump(mode="json")

    def open_environment(self, artifacts: Mapping[str, Path]) -> Environment[Any, Any]:
        """Open the environment over its artifacts, by name."""
        package = environment_package(self.environment["name"])
        config = package.config.model_validate(self.environment)
        return package.open(dict(artifacts), config, self.rollout.max_turns)


class RunSpec(_Spec):
    """Everything a training run depends on, except its data."""

    name: str
    training: TrainingConfig = Field(default_factory=TrainingConfig)

    def lasting(self) -> dict[str, Any]:
        """The settings that must not change for the run to continue."""
        settings: dict[str, Any] = {
            "seed": self.seed,
            "backend": self.backend.model_dump(mode="json"),
            "rollout": self.rollout.model_dump(mode="json"),
            "environment": self.environment,
            "training": self.training.model_dump(mode="json", exclude=_FREE_SETTINGS),
        }
        if self.backend.tool_parser == "auto":  # all that runs begun before this setting know
            del settings["backend"]["tool_parser"]
        if self.training.reward == "ruler":
            settings["judge"] = self.judge.model_dump(mode="json", include=_JUDGES_SCORES)
        return settings


class EvaluationSpec(_Spec):
    """Everything an evaluation depends on, except its data and the adapters.

    Args:
        model_name: the model in ZenML.
        versions: other versions of it to evaluate, by label.
    """

    model_name: str
    evaluation: EvaluationConfig
    versions: dict[str, int]
