"""Settings of the training service: configs/service.yaml, overridden by environment variables."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from agent.judge.config import JudgeConfig
from backends.config import BackendConfig
from environment.base import StrictModel
from environment.configuration import ConfigError, explain, read_yaml
from environment.language_model import LlmConfig
from training.config import RolloutConfig, TrainingConfig
from web.guard import is_loopback

ROOT = Path(__file__).resolve().parents[1]
CONFIG, DOTENV = ROOT / "configs" / "service.yaml", ROOT / ".env"
TOKEN = "ART_SERVICE_TOKEN"  # noqa: S105 (the variable, not the token)
_MIN_TOKEN_CHARS = 16


class Variables(BaseSettings):
    """Environment variables that override the configuration. Empty ones count as unset."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    host: str | None = None
    port: str | None = None
    log_level: str | None = None
    data: str | None = Field(None, validation_alias="ART_PATH")
    backend: str | None = Field(None, validation_alias="ART_BACKEND")
    token: SecretStr | None = Field(None, validation_alias=TOKEN)


class EnvironmentDefaults(StrictModel):
    """The operator's defaults for an environment. A request may override ``settings`` only."""

    settings: dict[str, Any] = Field(default_factory=dict, description="Section environment.")
    data: dict[str, Any] = Field(default_factory=dict, description="Section data.")


class EvaluationDefaults(StrictModel):
    """The size of an evaluation."""

    scenarios: int = Field(200, ge=1, description="At most this many held-out scenarios.")
    samples: int = Field(4, ge=1, description="Sampled rollouts per scenario.")


class ServiceSettings(StrictModel):
    """The training service's own settings, and the defaults of its jobs."""

    # Excluded from the dump that the checking process gets.
    token: SecretStr | None = Field(None, exclude=True, description=f"Set by {TOKEN}.")
    host: str = Field("127.0.0.1", description="A token is required off loopback.")
    port: int = Field(8000, ge=0, le=65535)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    data: Path = Field(Path(".art"), description="Folder of jobs, runs and artifacts.")
    concurrency: int = Field(1, ge=1, description="Jobs that train at the same time.")
    queue_limit: int = Field(10_000, ge=1, description="Maximum of queued jobs.")
    restarts: int = Field(
        10,
        ge=0,
        description="Consecutive workers that may die without a step before the job fails.",
    )
    cancel_grace_s: float = Field(
        60, ge=0, description="How long a cancelled worker gets to stop before it is killed."
    )
    heartbeat_s: float = Field(15, gt=0, description="Interval of a stream's keep-alive comments.")
    streams: int = Field(1_000, ge=1, description="Maximum of open event streams.")
    requests_per_minute: int = Field(600, ge=1, description="Per client address.")
    hosted_requests: int = Field(
        8, ge=1, description="Concurrent calls to /rollout and /evaluate; others wait."
    )
    max_body_bytes: int = Field(8 << 20, ge=1_024)
    backend: BackendConfig = BackendConfig()
    rollout: RolloutConfig = RolloutConfig()
    training: TrainingConfig = TrainingConfig()
    judge: JudgeConfig = JudgeConfig()
    judge_providers: tuple[str, ...] = Field(
        (
            *("openai", "anthropic", "azure", "cerebras", "cohere", "cohere_chat", "deepseek"),
            *("fireworks_ai", "gemini", "groq", "mistral", "nvidia_nim", "openrouter"),
            *("perplexity", "together_ai", "vertex_ai", "xai"),
        ),
        min_length=1,
        description="LiteLLM providers whose models a request may name as judge_model.",
    )
    writer: LlmConfig = Field(
        LlmConfig(model="gpt-4o"), description="The language model that writes examples."
    )
    evaluation: EvaluationDefaults = EvaluationDefaults()
    environments: dict[str, EnvironmentDefaults] = Field(default_factory=dict)

    @field_validator("data")
    @classmethod
    def _home(cls, path: Path) -> Path:
        return path.expanduser().absolute()

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value


def load_settings(config: Path, dotenv: Path | None = None) -> ServiceSettings:
    """The settings in a file, overridden by environment variables.

    Unset variables are read from ``dotenv`` into the environment, where libraries look for their keys.

    Raises:
        ConfigError: a file cannot be read, a key is unknown, a value is invalid, or the service would
            listen on a public address without a token.
    """
    if dotenv is not None and dotenv.is_file():
        for name, value in dotenv_values(dotenv).items():
            if value and not os.environ.get(name):
                os.environ[name] = value
    raw = read_yaml(config)
    overrides = Variables().model_dump(exclude_none=True)
    if kind := overrides.pop("backend", None):
        if kind == "skypilot":
            raise ConfigError(
                "ART_BACKEND=skypilot: run the service with ART_BACKEND=local on the machine that "
                "SkyPilot starts (see configs/training_skypilot.yaml)"
            )
        raw["backend"] = (raw.get("backend") or {}) | {"kind": kind}
    try:
        settings = ServiceSettings.model_validate(raw | overrides)
    except ValidationError as error:
        raise ConfigError(explain(error, ServiceSettings, secret=("token",))) from error
    if settings.token and len(settings.token) < _MIN_TOKEN_CHARS:
        raise ConfigError(f"{TOKEN} is shorter than {_MIN_TOKEN_CHARS} characters")
    if not settings.token and not is_loopback(settings.host):
        raise ConfigError(
            f"host {settings.host} can be reached from other machines, so a token is required: "
            f"set {TOKEN}, or host to 127.0.0.1"
        )
    return settings
