"""What a command would do, where, with what, and what that could take at most; nothing is begun.

Nothing is written, downloaded or asked of a network: a model or a data set that only a hub has is
named, not looked up.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from backends import BackendError, check, check_serves_adapters, gpus
from backends.config import BackendConfig
from backends.needs import KEYS
from pipelines.config import ProjectConfig
from training.budget import UnknownPrice, check_prices
from training.evaluation import MODES

Row = tuple[str, str]
Section = Callable[[ProjectConfig], list[Row]]
_NAME_WIDTH = 20
_POLICIES = 3  # trained, base and incumbent
_SAMPLES = 6  # three before, three after, to be looked at
_PROVIDER_KEYS = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}


def lines(config: ProjectConfig, pipeline: str, parts: Sequence[str]) -> list[str]:
    """The dry run of a pipeline of the command line, for a terminal.

    Args:
        parts: what it consists of: ``data``, ``train``, ``eval``, ``deploy``, ``rollback``.
    """
    shown = [f"{pipeline}: a dry run; nothing is started, written or downloaded"]
    shown += _block("where", _where(config, parts))
    for part in parts:
        shown += _block(part, SECTIONS[part](config))
    needs = keys_needed(config, parts)
    shown += _block("keys", [(key, "set" if os.environ.get(key) else "not set") for key in needs])
    if faults := not_ready(config, parts):
        shown += ["not ready here", *(f"  {fault}" for fault in faults)]
    else:
        shown.append("ready")
    return shown


def _block(title: str, rows: Iterable[Row]) -> list[str]:
    found = list(rows)
    return [title, *(f"  {name:{_NAME_WIDTH}} {value}" for name, value in found)] if found else []


def _where(config: ProjectConfig, parts: Sequence[str]) -> list[Row]:
    rows = [("stack", _stack(config.stack))]
    if {"train", "eval"} & set(parts):
        rows += [("backend", _backend(config.backend)), ("GPU request", _gpu_request(config))]
    return rows


def _stack(name: str | None) -> str:
    """The stack's components, where ZenML has been used on this machine before."""
    from zenml.utils.io_utils import get_global_config_directory

    # Opening ZenML's client for the first time creates its settings and its database.
    known = (Path(get_global_config_directory()) / "config.yaml").exists()
    if not known and "ZENML_STORE_URL" not in os.environ:
        return f"{name or 'default'} (ZenML has not been used here yet)"
    from zenml.client import Client

    client = Client()
    try:
        stack = client.get_stack(name) if name else client.active_stack_model
    except KeyError:
        return f"{name}, which is not registered here: zenml stack list shows those that are"
    kinds = [
        f"{found[0].flavor_name} {str(kind).replace('_', ' ')}"
        for kind, found in stack.components.items()
        if str(kind) in ("orchestrator", "step_operator", "artifact_store", "deployer")
    ]
    return f"{stack.name} ({', '.join(kinds)})"


def _backend(backend: BackendConfig) -> str:
    where = {
        "embedded": f"in this process, device {backend.device}",
        "local": "ART's LocalBackend: Unsloth and vLLM on this machine's GPUs",
        "serverless": "Weights & Biases",
        "tinker": "Tinker",
    }[backend.kind]
    return f"{backend.kind} ({where}); {backend.base_model}, LoRA rank {backend.lora.rank}"


def _gpu_request(config: ProjectConfig) -> str:
    found = [
        f"{key} {value}" for key, value in _flat(config.settings) if "gpu" in key.lower() and value
    ]
    if found:
        return ", ".join(found)
    return "all of this machine" if config.backend.kind == "local" else "none"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, value in settings.items():
        name = f"{prefix}{key}"
        rows += _flat(value, f"{name}.") if isinstance(value, Mapping) else [(name, value)]
    return rows


def _data(config: ProjectConfig) -> list[Row]:
    chosen = config.data.model_dump(mode="json", exclude_unset=True)
    if hasattr(config.data, "source"):
        chosen = {"source": config.data.source} | chosen
    return [("environment", config.environment.name)] + [
        (name, str(value)) for name, value in chosen.items()
    ]


def _train(config: ProjectConfig) -> list[Row]:
    training, rollout = config.training, config.rollout
    groups = training.max_steps * training.groups_per_step
    rollouts = groups * training.rollouts_per_group
    rows = [
        ("data", "the newest completed data run"),
        (
            "rollouts",
            f"at most {rollouts:,} ({training.max_steps:,} steps of {training.groups_per_step} "
            f"groups of {training.rollouts_per_group})" + _validation(config),
        ),
        (
            "of each",
            (
                f"at most {rollout.max_turns} turns, {rollout.max_tokens:,} tokens, "
                f"{rollout.timeout_s:g} s; {rollout.concurrency} at once"
            ),
        ),
    ]
    if training.reward == "ruler":
        rows.append(
            ("judge", f"{training.ruler_model}, one comparison for each of {groups:,} groups")
        )
    return rows + _bounds(config, rollouts + validation_rollouts(config) + _SAMPLES)


def validation_rollouts(config: ProjectConfig) -> int:
    """Rollouts of the evaluations while training, at most."""
    training = config.training
    times = training.max_steps // training.eval_every if training.eval_every else 0
    return times * training.eval_scenarios


def _validation(config: ProjectConfig) -> str:
    extra = validation_rollouts(config)
    return f", {extra:,} to validate" if extra else ""


def _bounds(config: ProjectConfig, rollouts: int) -> list[Row]:
    """What a training run could take at most, each bound with where it comes from."""
    budget, rollout = config.training.budget, config.rollout
    count = requested_gpus(config)
    tokens = rollouts * rollout.max_tokens * rollout.max_turns
    minutes = budget.minutes if budget.minutes is not None else math.inf
    if budget.gpu_hours is not None and count:
        minutes = min(minutes, budget.gpu_hours / count * 60)
    waves = math.ceil(rollouts / rollout.concurrency)
    gpu_hours = minutes / 60 * count if count else 0.0
    cost = _cost_bound(config, gpu_hours, tokens)
    return [
        ("tokens", f"at most {tokens:,}, prompts counted anew each turn"),
        ("minutes", _bound(minutes, "training.budget.minutes")),
        ("", f"rollouts alone: at most {waves * rollout.timeout_s / 60:,.0f}, by their timeout"),
        ("GPU hours", _bound(gpu_hours, "training.budget.gpu_hours")),
        ("US dollars", _bound(cost, "training.budget.cost_usd")),
        ("", "a budget ends a run after the step in which it is reached"),
    ]


def _cost_bound(config: ProjectConfig, gpu_hours: float, tokens: int) -> float:
    budget = config.training.budget
    bound = _price(budget.gpu_usd_per_hour, gpu_hours)
    if config.backend.kind in ("serverless", "tinker"):
        bound += _price(budget.usd_per_million_tokens, tokens / 1e6)
    if config.training.reward == "ruler" and config.training.ruler_api_base is None:
        bound = math.inf  # a judge's replies have no price known beforehand
    return min(bound, math.inf if budget.cost_usd is None else budget.cost_usd)


def _price(price: float | None, amount: float) -> float:
    if amount == 0 or price == 0:
        return 0.0
    return math.inf if price is None else price * amount


def _bound(value: float, key: str) -> str:
    return f"at most {value:,.4g}" if math.isfinite(value) else f"no bound: set {key}"


def requested_gpus(config: ProjectConfig) -> int:
    """GPUs that a training run holds: those its settings ask for, or those of this machine."""
    asked = [
        int(value)
        for key, value in _flat(config.settings)
        if key.endswith(("nvidia.com/gpu", "gpu_count")) and str(value).isdigit()
    ]
    if asked:
        return max(asked)
    found = gpus(config.backend)
    return max(1, found) if config.backend.kind == "local" else found


def _eval(config: ProjectConfig) -> list[Row]:
    scenarios = config.evaluation.scenarios
    rollouts = scenarios * len(MODES) * _POLICIES
    return [
        ("model", f"{config.model_name}: its newest trained version, or --model-version"),
        (
            "rollouts",
            (
                f"at most {rollouts:,} ({scenarios} held-out scenarios, {' and '.join(MODES)}, of the "
                "trained policy, the base and what is in production)"
            ),
        ),
        ("promotes", "if it is better than both, by the whole interval"),
    ]


def _deploy(config: ProjectConfig) -> list[Row]:
    deployment = config.deployment
    return [
        ("model", f"{config.model_name}: what is in production, or --model-version"),
        ("address", f"{deployment.host}:{deployment.port} (of the local deployer)"),
        ("callers show", deployment.key or "nothing"),
    ]


def _rollback(config: ProjectConfig) -> list[Row]:
    return [("promotes", "the version that was in production before"), *_deploy(config)]


SECTIONS: dict[str, Section] = {
    "data": _data,
    "train": _train,
    "eval": _eval,
    "deploy": _deploy,
    "rollback": _rollback,
}


def keys_needed(config: ProjectConfig, parts: Sequence[str]) -> list[str]:
    """Environment variables that must be set, in the order they are needed."""
    keys: list[str] = []
    if {"train", "eval"} & set(parts):
        keys += KEYS[config.backend.kind]
    training = config.training
    if "train" in parts and training.reward == "ruler" and training.ruler_api_base is None:
        provider = training.ruler_model.partition("/")[0]
        keys += [_PROVIDER_KEYS.get(provider, f"{provider.upper()}_API_KEY")]
    key = config.deployment.key or ""
    if {"deploy", "rollback"} & set(parts) and key.startswith("$"):
        keys.append(key.removeprefix("$"))
    return list(dict.fromkeys(keys))


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
    return faults


def _backend_faults(config: ProjectConfig, parts: Sequence[str]) -> list[str]:
    backend = config.backend
    faults: list[str] = []
    try:
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
