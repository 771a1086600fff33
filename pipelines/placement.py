"""Where steps run: on this machine, or where a step operator or an orchestrator puts them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError
from zenml.client import Client
from zenml.config.step_configurations import StepConfigurationUpdate
from zenml.enums import StackComponentType

from environment.package import Stage
from environment.registry import environment_package
from pipelines.config import ConfigError, ProjectConfig
from steps.ticks import HOOK

_STEPS = {
    "train": ("setup_art_model", "train_agent"),
    "eval": (
        "load_trained_model",
        "run_inference",
        "judge_answers",
        "compute_metrics",
        "promote",
        "describe_model",
    ),
}


def stages_of(config: ProjectConfig) -> Sequence[Stage]:
    """The stages that make the data of the configured environment."""
    package = environment_package(config.environment.name)
    return package.stages(config.data, config.environment)


def steps_of(config: ProjectConfig, part: str) -> tuple[str, ...]:
    """The names of a pipeline's steps; empty for deploy and rollback."""
    if part == "data":
        return tuple(stage.name for stage in stages_of(config))
    return _STEPS.get(part, ())


@contextmanager
def active_stack(name: str | None) -> Iterator[None]:
    """Activate the named stack, if any, for a block.

    Raises:
        ConfigError: there is no such stack.
    """
    client = Client()
    if name is None:
        yield
        return
    try:
        stack_id = client.get_stack(name).id
    except KeyError as error:
        raise ConfigError(
            f"stack: ZenML knows no stack {name}; zenml stack list shows them"
        ) from error
    before = client.active_stack_model.id
    client.activate_stack(stack_id)
    try:
        yield
    finally:
        client.activate_stack(before)


def zenml_options(config: ProjectConfig, pipeline: str) -> dict[str, Any]:
    """The configuration's arguments for ``with_options`` of a pipeline."""
    hook = {"success_hook_source": HOOK}
    steps = {name: hook | config.steps.get(name, {}) for name in steps_of(config, pipeline)}
    return {"settings": config.settings, "steps": steps}


def operator_of(config: ProjectConfig, step: str) -> str | None:
    """The name of the step operator that runs a step, if any."""
    operator = config.steps.get(step, {}).get("step_operator")
    return str(operator) if operator else None


def step_operator(wanted: str | bool) -> Any:
    """A step operator of the active stack, by name; True is the first."""
    operators = Client().active_stack.step_operators
    return operators[wanted] if isinstance(wanted, str) else next(iter(operators.values()))


def runs_here(config: ProjectConfig, step: str) -> bool:
    """Whether a step runs on this machine, under the active stack."""
    return not operator_of(config, step) and Client().active_stack.orchestrator.flavor == "local"


def check_steps(config: ProjectConfig) -> None:
    """
    Raises:
        ConfigError: a step, one of its keys or its step operator does not exist. ZenML would ignore the
            first two and run the step on this machine.
    """
    known = {name for part in ("data", *_STEPS) for name in steps_of(config, part)}
    for name, step in config.steps.items():
        if name not in known:
            raise ConfigError(
                f"steps: there is no step {name}; there are {', '.join(sorted(known))}"
            )
        if unknown := step.keys() - StepConfigurationUpdate.model_fields.keys():
            raise ConfigError(f"steps.{name}: ZenML knows no key {min(unknown)} of a step")
        try:
            StepConfigurationUpdate.model_validate(step)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ConfigError(f"steps.{name}.{where}: {first['msg']}") from error
        _check_operator(name, step)


def _check_operator(name: str, step: dict[str, Any]) -> None:
    wanted = step.get("step_operator")
    if not wanted:
        return
    stack = Client().active_stack_model
    names = [c.name for c in stack.components.get(StackComponentType.STEP_OPERATOR, [])]
    if not names or (isinstance(wanted, str) and wanted not in names):
        raise ConfigError(
            f"steps.{name}.step_operator: the stack {stack.name} has no step operator {wanted}; "
            "docs/kubernetes.md has the commands that register it"
        )
    operator = step_operator(wanted)
    settings_class = operator.settings_class
    for key in ("step_operator", f"step_operator.{operator.flavor}"):
        settings = step.get("settings", {}).get(key, {})
        if settings_class and (unknown := settings.keys() - settings_class.model_fields.keys()):
            raise ConfigError(f"steps.{name}.settings: {key} has no setting {min(unknown)}")
