"""What a command needs of this machine, and what is missing."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from agent.hosted.connection import check_llm
from agent.judge import JudgeConfig
from backends import check, check_serves_adapters, gpus
from backends.chat_format import load_chat_format
from backends.errors import BackendError
from backends.loading import is_folder
from backends.needs import KEYS
from environment.base import UserError
from environment.language_model import LlmConfig
from environment.registry import check_environment
from pipelines.config import ConfigError, ProjectConfig
from pipelines.placement import operator_of, stages_of, steps_of
from training.evaluation.hosted import check_hosted
from training.run.budget import check_prices


def flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested settings as rows of dotted keys and values."""
    rows: list[tuple[str, Any]] = []
    for key, value in settings.items():
        name = f"{prefix}{key}"
        rows += flat(value, f"{name}.") if isinstance(value, Mapping) else [(name, value)]
    return rows


def zenml_settings(config: ProjectConfig) -> list[tuple[str, Any]]:
    """ZenML's settings for all steps and for ``train_agent``."""
    return flat(config.settings) + flat(config.steps.get("train_agent", {}))


def requested_gpus(config: ProjectConfig) -> int:
    """GPUs that a training run holds: those requested in its settings, or this machine's."""
    requested = [
        int(value)
        for key, value in zenml_settings(config)
        if key.endswith(("nvidia.com/gpu", "gpu_count")) and str(value).isdigit()
    ]
    if requested:
        return max(requested)
    present = gpus(config.backend)
    return max(1, present) if config.backend.kind == "local" else present


def keys_needed(
    config: ProjectConfig, parts: Sequence[str], steps: Collection[str] | None = None
) -> list[str]:
    """Environment variables that must be set, in the order of their use.

    Args:
        steps: the steps whose needs count; None is all.
    """
    keys: list[str] = []
    if steps is None:
        steps = [step for part in parts for step in steps_of(config, part)]
    if not {"train_agent", "run_inference"}.isdisjoint(steps):
        keys += KEYS[config.backend.kind]
    if "data" in parts:
        for stage in stages_of(config):
            keys += _provider_keys(stage.model) if stage.model is not None else []
    if judges(config, steps):
        keys += _provider_keys(config.judge)
    if "run_inference" in steps:
        for entry in config.evaluation.hosted:
            provider = f"{str(entry.model).partition('/')[0].upper()}_API_KEY"
            keys.append(entry.api_key_env if entry.api_base else provider)
    key = config.deployment.key or ""
    if {"deploy", "rollback"} & set(parts) and key.startswith("$"):
        keys.append(key.removeprefix("$"))
    return list(dict.fromkeys(keys))


def _provider_keys(model: LlmConfig) -> list[str]:
    return [] if model.api_base else [f"{model.model.partition('/')[0].upper()}_API_KEY"]


def judge_within(config: ProjectConfig) -> JudgeConfig:
    """The judge, limited to the run's dollar budget, which requires a known price."""
    judge, most = config.judge, config.training.budget.cost_usd
    if most is None or judge.max_cost_usd is not None or not _judge_trains(config):
        return judge
    return judge.model_copy(update={"max_cost_usd": most})


def _judge_trains(config: ProjectConfig) -> bool:
    return config.training.reward == "ruler"


def judges(config: ProjectConfig, steps: Collection[str]) -> bool:
    """Whether any of these steps uses the judge."""
    evaluates = config.evaluation.correctness != "match"
    return ("train_agent" in steps and _judge_trains(config)) or (
        "judge_answers" in steps and evaluates
    )


def checks(
    config: ProjectConfig, parts: Collection[str], here: Collection[str]
) -> Iterator[Callable[[], None]]:
    """Checks that need neither a network nor ZenML; each raises a ``UserError``.

    Args:
        here: the steps that run on this machine.
    """
    backend = config.backend
    if "data" in parts:
        yield partial(_check_paths, config)
        for stage in stages_of(config):
            if stage.model is not None:
                yield partial(check_llm, stage.model, f"the step {stage.name} asks a model")
    if not {"train_agent", "run_inference"}.isdisjoint(here):
        yield partial(check, backend)
    sandboxed = {stage.name for stage in stages_of(config) if stage.sandboxed}
    if not {"train_agent", "run_inference", *sandboxed}.isdisjoint(here):
        yield partial(check_environment, config.environment, config.rollout.max_turns)
    if "eval" in parts:
        yield partial(check_serves_adapters, backend)
    if "train" in parts:
        yield lambda: check_prices(config.training.budget, backend, requested_gpus(config))
    if "run_inference" in here:
        yield partial(check_hosted, config.evaluation)
    if judges(config, here):
        without = "training.reward: verifiable needs no judge"
        yield partial(check_llm, judge_within(config), "judge", without)


def _check_paths(config: ProjectConfig) -> None:
    for key, value in config.data:
        if isinstance(value, Path) and not value.exists():
            raise ConfigError(f"data.{key}: there is no {value}")


def not_ready(config: ProjectConfig, parts: Sequence[str]) -> list[str]:
    """Why the command would fail on this machine as it is."""
    here = [
        step for part in parts for step in steps_of(config, part) if not operator_of(config, step)
    ]
    unset = [key for key in keys_needed(config, parts, here) if not os.environ.get(key)]
    faults = [f"the environment variable {key} is not set" for key in unset]
    for run_check in checks(config, parts, here):
        try:
            run_check()
        except UserError as error:
            if not any(key in str(error) for key in unset):  # listed already
                faults.append(str(error))
    model = config.backend.base_model
    if {"train", "eval"} & set(parts) and (is_folder(model) or Path(model).is_dir()):
        # The chat template of a model on a hub is read when the command runs.
        try:
            load_chat_format(config.backend)
        except BackendError as error:
            faults.append(f"backend.base_model: {error}")
    return faults
