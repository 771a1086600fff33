"""What a command needs of this machine and its environment, and what of it is missing."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.judge import JudgeConfig, JudgeUnavailable, check_judge
from agent.llm import LlmConfig
from backends import BackendError, check, check_serves_adapters, gpus
from backends.needs import KEYS
from pipelines.config import ProjectConfig
from training.budget import UnknownPrice, check_prices

# The step of each pipeline in which the backend is opened.
BACKEND_STEPS = {"train": "train_agent", "eval": "run_inference"}


def flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested settings as rows of dotted keys and values."""
    rows: list[tuple[str, Any]] = []
    for key, value in settings.items():
        name = f"{prefix}{key}"
        rows += flat(value, f"{name}.") if isinstance(value, Mapping) else [(name, value)]
    return rows


def zenml_settings(config: ProjectConfig) -> list[tuple[str, Any]]:
    """What ZenML is told of all steps and of the one that trains."""
    return flat(config.settings) + flat(config.steps.get("train_agent", {}))


def operator_of(config: ProjectConfig, part: str) -> str | None:
    """The step operator that the step of a pipeline which needs the backend is sent to."""
    operator = config.steps.get(BACKEND_STEPS[part], {}).get("step_operator")
    return str(operator) if operator else None


def requested_gpus(config: ProjectConfig) -> int:
    """GPUs that a training run holds: those its settings ask for, or those of this machine."""
    asked = [
        int(value)
        for key, value in zenml_settings(config)
        if key.endswith(("nvidia.com/gpu", "gpu_count")) and str(value).isdigit()
    ]
    if asked:
        return max(asked)
    found = gpus(config.backend)
    return max(1, found) if config.backend.kind == "local" else found


def keys_needed(config: ProjectConfig, parts: Sequence[str]) -> list[str]:
    """Environment variables that must be set, in the order they are needed."""
    keys: list[str] = []
    if {"train", "eval"} & set(parts):
        keys += KEYS[config.backend.kind]
    if "data" in parts and getattr(config.data, "llm_writes", False):
        keys += _provider_keys(config.scenario_writer)
    if _asks_judge(config, parts):
        keys += _provider_keys(config.judge)
    if "eval" in parts:
        for entry in config.evaluation.hosted:
            provider = f"{str(entry.model).partition('/')[0].upper()}_API_KEY"
            keys.append(entry.api_key_env if entry.api_base else provider)
    key = config.deployment.key or ""
    if {"deploy", "rollback"} & set(parts) and key.startswith("$"):
        keys.append(key.removeprefix("$"))
    return list(dict.fromkeys(keys))


def _asks_judge(config: ProjectConfig, parts: Sequence[str]) -> bool:
    trains = "train" in parts and config.training.reward == "ruler"
    return trains or ("eval" in parts and config.evaluation.correctness != "match")


def _provider_keys(model: LlmConfig) -> list[str]:
    return [] if model.api_base else [f"{model.model.partition('/')[0].upper()}_API_KEY"]


def not_ready(config: ProjectConfig, parts: Sequence[str]) -> list[str]:
    """Why the command would fail on this machine as it is."""
    faults = [
        f"the environment variable {key} is not set"
        for key in keys_needed(config, parts)
        if not os.environ.get(key)
    ]
    if "data" in parts:
        for name in ("path", "scenarios_path"):
            path = getattr(config.data, name, None)
            if path is not None and not path.exists():
                faults.append(f"data.{name}: there is no {path}")
    if {"train", "eval"} & set(parts):
        faults += _backend_faults(config, parts)
    if not faults and _asks_judge(config, parts):
        try:
            check_judge(judge_within(config))
        except JudgeUnavailable as error:
            faults.append(str(error))
    return faults


def judge_within(config: ProjectConfig) -> JudgeConfig:
    """The judge, whose price must be known if the run's dollars are bounded."""
    judge, most = config.judge, config.training.budget.cost_usd
    if most is None or judge.max_cost_usd is not None:
        return judge
    return judge.model_copy(update={"max_cost_usd": most})


def _backend_faults(config: ProjectConfig, parts: Sequence[str]) -> list[str]:
    backend = config.backend
    faults: list[str] = []
    try:
        if any(operator_of(config, part) is None for part in BACKEND_STEPS if part in parts):
            check(backend)
    except BackendError as error:
        if not any(key in str(error) for key in KEYS[backend.kind]):  # which is told already
            faults.append(str(error))
    try:
        if "train" in parts:
            check_prices(config.training.budget, backend, requested_gpus(config))
        if "eval" in parts:
            check_serves_adapters(backend)
    except (BackendError, UnknownPrice) as error:
        faults.append(str(error))
    if backend.base_model.startswith(("/", ".", "~")) and not Path(backend.base_model).is_dir():
        faults.append(f"backend.base_model: there is no folder {backend.base_model}")
    return faults
