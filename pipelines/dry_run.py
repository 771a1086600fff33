"""What a command would do, where, with what settings and at what maximal cost.

Nothing is started, written, downloaded or requested: models and data sets on a hub are not looked up.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from backends.chat_format import load_chat_format
from backends.config import BackendConfig
from backends.errors import BackendError
from environment.registry import environment_package
from pipelines.config import ProjectConfig
from pipelines.placement import operator_of, stages_of, steps_of
from pipelines.readiness import keys_needed, not_ready, requested_gpus, zenml_settings
from training.evaluation.evaluate import MODES, rollouts_of_each

Row = tuple[str, str]
Section = Callable[[ProjectConfig], list[Row]]
_UNKNOWN = "which is not registered here"
_NAME_WIDTH = 20
_POLICIES = 3  # trained, base and incumbent
_SAMPLES = 6  # greedy samples for the report, three before and three after


def lines(config: ProjectConfig, pipeline: str, parts: Sequence[str]) -> list[str]:
    """The dry run of a pipeline of the command line, for a terminal.

    Args:
        parts: of ``data``, ``train``, ``eval``, ``deploy``, ``rollback``.
    """
    shown = [f"{pipeline}: a dry run; nothing is started, written or downloaded"]
    shown += _block("where", _where(config, parts))
    for part in parts:
        shown += _block(part, SECTIONS[part](config))
    needs = keys_needed(config, parts)
    shown += _block("keys", [(key, "set" if os.environ.get(key) else "not set") for key in needs])
    faults = not_ready(config, parts)
    if _UNKNOWN in _stack(config.stack):
        faults.append(f"stack: {_stack(config.stack)}")
    if faults:
        shown += ["not ready here", *(f"  {fault}" for fault in faults)]
    else:
        shown.append("ready")
    return shown


def _block(title: str, rows: Iterable[Row]) -> list[str]:
    shown = [f"  {name:{_NAME_WIDTH}} {value}" for name, value in rows]
    return [title, *shown] if shown else []


def _where(config: ProjectConfig, parts: Sequence[str]) -> list[Row]:
    package = environment_package(config.environment.name)
    rows = [("stack", _stack(config.stack))]
    rows += [("environment", config.environment.name)]
    rows += package.describe(config.data, config.environment).items()
    if {"train", "eval"} & set(parts):
        rows += [
            (step, f"step operator {operator}")
            for part in parts
            for step in steps_of(config, part)
            if (operator := operator_of(config, step))
        ]
        rows += [("backend", _backend(config.backend)), ("GPU request", _gpu_request(config))]
        rows += [("base model", line) for line in _chat_format(config.backend)]
    return rows


def _stack(name: str | None) -> str:
    """The stack and its components, if ZenML has been used on this machine."""
    from zenml.utils.io_utils import get_global_config_directory

    # ZenML's client would create its settings and database on first use.
    known = (Path(get_global_config_directory()) / "config.yaml").exists()
    if not known and "ZENML_STORE_URL" not in os.environ:
        return f"{name or 'default'} (ZenML has not been used here yet)"
    from zenml.client import Client

    client = Client()
    try:
        stack = client.get_stack(name) if name else client.active_stack_model
    except KeyError:
        return f"{name}, {_UNKNOWN}: zenml stack list shows those that are"
    kinds = [
        f"{component[0].flavor_name} {str(kind).replace('_', ' ')}"
        for kind, component in stack.components.items()
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


def _chat_format(backend: BackendConfig) -> list[str]:
    if not Path(backend.base_model).is_dir():
        return []
    try:
        return load_chat_format(backend).describe()
    except BackendError:
        return []  # among what is not ready


def _gpu_request(config: ProjectConfig) -> str:
    requests = [
        f"{key} {value}"
        for key, value in zenml_settings(config)
        if key.endswith(("nvidia.com/gpu", "gpu_count")) and value
    ]
    if requests:
        return ", ".join(requests)
    return "all of this machine" if config.backend.kind == "local" else "none"


def _data(config: ProjectConfig) -> list[Row]:
    chosen = config.data.model_dump(mode="json", exclude_unset=True)
    rows = [("steps", ", ".join(steps_of(config, "data")) or "none: it needs no data")]
    rows += [(name, str(value)) for name, value in chosen.items()]
    for stage in stages_of(config):
        if stage.model is not None:
            most = stage.model.max_cost_usd
            bound = "no bound on its cost" if most is None else f"at most {most:g} US dollars"
            rows.append((stage.name, f"asks {stage.model.model}, {bound}"))
    return rows


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
        rows.append(("judge", _judge(config, groups)))
    return rows + _bounds(config, rollouts + validation_rollouts(config) + _SAMPLES)


def _judge(config: ProjectConfig, groups: int) -> str:
    judge = config.judge
    where = f" at {judge.api_base}" if judge.api_base else ""
    most = math.ceil(groups * (1 + judge.second_order_share))
    return f"{judge.model}{where}, {groups:,} groups, some {most:,} requests, each tried again once"


def validation_rollouts(config: ProjectConfig) -> int:
    """The maximal number of rollouts to validate while training."""
    training = config.training
    times = training.max_steps // training.eval_every if training.eval_every else 0
    return times * training.eval_scenarios


def _validation(config: ProjectConfig) -> str:
    extra = validation_rollouts(config)
    return f", {extra:,} to validate" if extra else ""


def _bounds(config: ProjectConfig, rollouts: int) -> list[Row]:
    """Upper bounds of what a training run can use, and the settings that bound them."""
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
        ("", f"replies alone: at most {waves * rollout.timeout_s / 60:,.0f}, by their timeout"),
        ("GPU hours", _bound(gpu_hours, "training.budget.gpu_hours")),
        ("US dollars", _bound(cost, "training.budget.cost_usd")),
        ("", "a budget ends a run after the step in which it is reached"),
    ]


def _cost_bound(config: ProjectConfig, gpu_hours: float, tokens: int) -> float:
    budget = config.training.budget
    bound = _price(budget.gpu_usd_per_hour, gpu_hours)
    if config.backend.kind in ("serverless", "tinker"):
        bound += _price(budget.usd_per_million_tokens, tokens / 1e6)
    judge = config.judge
    if config.training.reward == "ruler" and not judge.api_base:
        # A judge's reasoning tokens are not known beforehand.
        bound += math.inf if judge.max_cost_usd is None else judge.max_cost_usd
    return min(bound, math.inf if budget.cost_usd is None else budget.cost_usd)


def _price(price: float | None, amount: float) -> float:
    if amount == 0 or price == 0:
        return 0.0
    return math.inf if price is None else price * amount


def _bound(value: float, key: str) -> str:
    return f"at most {value:,.4g}" if math.isfinite(value) else f"no bound: set {key}"


def _eval(config: ProjectConfig) -> list[Row]:
    evaluation = config.evaluation
    scenarios, samples = evaluation.scenarios, evaluation.samples
    of_each = sum(rollouts_of_each(mode, samples) for mode in MODES)
    sampled = "sampled" if samples == 1 else f"sampled {samples} times"
    others = ", ".join(entry.name for entry in evaluation.models)
    most = evaluation.max_cost_usd
    bound = "no bound: set evaluation.max_cost_usd" if most is None else f"at most {most:g}"
    return [
        ("model", f"{config.model_name}: its newest trained version, or --model-version"),
        (
            "rollouts",
            (
                f"at most {scenarios * of_each * _POLICIES:,} ({scenarios} held-out scenarios, "
                f"greedy and {sampled}, of the trained policy, the base and what is in production)"
            ),
        ),
        *([("other models", others)] if others else []),
        *([("US dollars", f"{bound} (hosted models)")] if evaluation.hosted else []),
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
