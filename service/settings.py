"""How the service runs: configs/service.yaml, over it the environment and ``.env``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from dotenv import dotenv_values
from pydantic import Field, ValidationError, field_validator, model_validator

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
_VARIABLES = {
    "ART_BACKEND": ("backend", "kind"),
    "ART_PATH": ("data",),
    "HOST": ("host",),
    "PORT": ("port",),
    "LOG_LEVEL": ("log_level",),
}


class EnvironmentDefaults(StrictModel):
    """What the operator settles for an environment; a request may change ``settings`` only."""

    settings: dict[str, Any] = Field(default_factory=dict, description="Its section environment.")
    data: dict[str, Any] = Field(default_factory=dict, description="Its section data.")


class EvaluationDefaults(StrictModel):
    """How much of an evaluation is worth its time."""

    scenarios: int = Field(200, ge=1, description="Held out, at most.")
    samples: int = Field(4, ge=1, description="Sampled rollouts of each.")


class ServiceSettings(StrictModel):
    """The service's own settings, and the defaults of what it trains."""

    host: str = Field("127.0.0.1", description="Another one needs a token.")
    port: int = Field(8000, ge=0, le=65535)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    data: Path = Field(Path(".art"), description="Jobs, runs and what environments need.")
    concurrency: int = Field(1, ge=1, description="Jobs that train at once.")
    queue_limit: int = Field(10_000, ge=1, description="Jobs that may wait.")
    restarts: int = Field(
        10, ge=0, description="Workers that may die in a row without a step, before a job fails."
    )
    cancel_grace_s: float = Field(60, ge=0, description="Then a worker that goes on is killed.")
    heartbeat_s: float = Field(15, gt=0, description="A stream says something so often.")
    streams: int = Field(1_000, ge=1, description="Clients that follow jobs at once.")
    requests_per_minute: int = Field(600, ge=1, description="Of one address.")
    hosted_requests: int = Field(
        8, ge=1, description="Calls of /rollout and /evaluate at work at once; others wait."
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
        description="Whose models a request may name as judge_model, by LiteLLM's names.",
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

    @model_validator(mode="after")
    def _is_protected(self) -> Self:
        if token() is None and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host} can be reached from other machines, so callers must show a "
                f"token: set {TOKEN}, or host to 127.0.0.1"
            )
        return self


def token() -> str | None:
    """What callers must show as bearer token.

    Raises:
        ConfigError: it is so short that it can be guessed.
    """
    value = os.environ.get(TOKEN)
    if value and len(value) < _MIN_TOKEN_CHARS:
        raise ConfigError(f"{TOKEN} is shorter than {_MIN_TOKEN_CHARS} characters")
    return value or None


def load_settings(config: Path, dotenv: Path | None = None) -> ServiceSettings:
    """The settings of a file, over them the variables of the environment.

    Variables of ``dotenv`` that the environment lacks are added to it, as those who read keys look
    there. An empty variable counts as not set.

    Raises:
        ConfigError: a file cannot be read, a key is unknown, a value does not fit.
    """
    if dotenv is not None and dotenv.is_file():
        for name, value in dotenv_values(dotenv).items():
            if value and not os.environ.get(name):
                os.environ[name] = value
    raw = read_yaml(config)
    _overlay(raw, os.environ)
    try:
        return ServiceSettings.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(explain(error, ServiceSettings)) from error


def _overlay(raw: dict[str, Any], environ: Mapping[str, str]) -> None:
    for name, (*sections, key) in _VARIABLES.items():
        value = environ.get(name)
        if not value:
            continue
        if (name, value) == ("ART_BACKEND", "skypilot"):
            raise ConfigError(
                "ART_BACKEND=skypilot: run the service on the machine that SkyPilot starts, with "
                "ART_BACKEND=local there (configs/training_skypilot.yaml is such a machine)"
            )
        section = raw
        for part in sections:
            section[part] = dict(section.get(part) or {})
            section = section[part]
        section[key] = value
