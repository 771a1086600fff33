"""The configuration of all pipelines: YAML files, validated before anything runs.

A file needs only the sections it changes. Later files override earlier ones, and single settings
override files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, create_model, field_validator

from agent.judge import JudgeConfig
from backends.config import BackendConfig
from environment.base import StrictModel
from environment.configuration import ConfigError, explain, read_yaml
from environment.registry import DEFAULT, UnknownEnvironment, environment_package
from training.config import EvaluationConfig, RolloutConfig, TrainingConfig

_RENAMED = {"scenario_writer": "data.writer"}


class DeploymentConfig(StrictModel):
    """How the trained agent is deployed."""

    host: str = Field("127.0.0.1", description="Address of the local deployer to listen on.")
    port: int = Field(
        8080, ge=1, le=65535, description="Of the local deployer; if taken, the next free port."
    )
    key: str | None = Field(
        None,
        description="The key that callers must send: generate, or $NAME of an environment variable. "
        "Required where other machines can reach the deployment.",
    )
    record_runs: bool = Field(
        False,
        description="Record every answer as a pipeline run in ZenML, which takes longer than answering.",
    )
    examples: int = Field(6, ge=0, le=20, description="Example questions on the page.")
    start_timeout_s: int = Field(300, ge=10)

    @field_validator("key")
    @classmethod
    def _is_not_a_literal_key(cls, value: str | None) -> str | None:
        if value is None or value == "generate" or (value.startswith("$") and len(value) > 1):
            return value
        raise ValueError(
            "keys do not belong in files: write generate, or $NAME of an environment variable"
        )


class ProjectConfig(StrictModel):
    """Everything a run depends on. ``environment`` and ``data`` are typed by the environment."""

    project: str = Field("art-rl", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    model_name: str = Field(
        "email-agent",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="The model in ZenML; each training run makes a version.",
    )
    environment: Any
    data: Any
    backend: BackendConfig = BackendConfig()
    rollout: RolloutConfig = RolloutConfig()
    training: TrainingConfig = TrainingConfig()
    judge: JudgeConfig = JudgeConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    deployment: DeploymentConfig = DeploymentConfig()
    stack: str | None = Field(None, description="A ZenML stack to use instead of the active one.")
    settings: dict[str, Any] = Field(
        default_factory=dict, description="ZenML's own settings, passed through."
    )
    steps: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="ZenML's own configuration of steps, by name: step_operator, settings, retry.",
    )


def load_config(files: Sequence[Path], settings: Sequence[str] = ()) -> ProjectConfig:
    """Merge files and ``section.key=value`` settings into a configuration.

    Raises:
        ConfigError: a file is missing or not YAML, a key is unknown, a value is invalid.
    """
    merged: dict[str, Any] = {}
    for file in files:
        merged = _overlay(merged, read_yaml(file))
    for setting in settings:
        merged = _overlay(merged, _parse_setting(setting))
    return parse_config(merged)


def parse_config(raw: Mapping[str, Any]) -> ProjectConfig:
    """Raises ``ConfigError``, see ``load_config``."""
    for old, new in _RENAMED.items():
        if old in raw:
            raise ConfigError(f"{old} is {new} now")
    section = raw.get("environment") or {}
    name = section.get("name", DEFAULT) if isinstance(section, Mapping) else section
    try:
        package = environment_package(str(name))
    except UnknownEnvironment as error:
        raise ConfigError(f"environment.name: {error}") from error
    model = create_model(
        "ProjectConfig",
        __base__=ProjectConfig,
        environment=(package.config, package.config()),
        data=(package.data, Field(default_factory=package.data)),
    )
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(explain(error, model, secret=["deployment.key"])) from error


def _parse_setting(setting: str) -> dict[str, Any]:
    key, separator, value = setting.partition("=")
    if not separator or not key:
        raise ConfigError(f"--set {setting}: write it as section.key=value")
    try:
        nested: Any = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {setting}: {value!r} is not YAML; quote it") from error
    for part in reversed(key.split(".")):
        nested = {part: nested}
    return dict(nested)


def _overlay(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in top.items():
        old = result.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        result[key] = _overlay(old, value) if both else value  # type: ignore[arg-type]
    return result
