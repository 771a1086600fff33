"""Steps that take artifacts by name: each set of names is a step that ZenML finds again."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from zenml.steps import BaseStep

from environment.registry import environment_package, names
from environment.tasks import TASK
from steps import data
from steps.by_name import with_inputs
from steps.evaluation import rescore_rollouts, run_inference
from steps.training import train_agent

VARIANTS = (
    train_agent.TRAIN_AGENT,
    run_inference.RUN_INFERENCE,
    rescore_rollouts.RESCORE_ROLLOUTS,
)
SETS: tuple[tuple[str, ...], ...] = ((), ("scenarios",), ("scenarios", "database"))


def inputs(step: Any) -> set[str]:
    return set(step.entrypoint_definition.inputs)


@pytest.mark.parametrize("artifacts", SETS, ids=str)
@pytest.mark.parametrize("variants", VARIANTS)
def test_a_step_is_found_again_with_its_artifacts(variants: Any, artifacts: Any) -> None:
    """In a pod nothing but the path of its source is known of it."""
    step = variants.taking(artifacts)
    loaded = BaseStep.load_from_source(step.resolve())
    assert loaded.name == step.name == variants.taking(["other"]).name
    assert inputs(loaded) == inputs(step)
    assert inputs(step) - inputs(variants.taking([])) == set(artifacts)
    assert loaded.configuration == step.configuration


@pytest.mark.parametrize("module", [train_agent, run_inference, rescore_rollouts, data])
def test_what_is_no_step_is_no_attribute(module: Any) -> None:
    for name in ("nothing", "nothing__of__scenarios"):
        with pytest.raises(AttributeError, match="nothing"):
            getattr(module, name)


@pytest.mark.parametrize("name", names())
def test_the_step_of_a_stage_is_found_again_with_what_it_makes_and_needs(name: str) -> None:
    package = environment_package(name)
    for stage in package.stages(package.data(), package.config()):
        step = data.step_of(stage)
        loaded = BaseStep.load_from_source(step.resolve())
        assert loaded.name == step.name == stage.name
        assert inputs(loaded) == inputs(step) >= set(stage.needs)
        assert set(loaded.entrypoint_definition.outputs) == {stage.artifact}


def test_only_a_stage_that_asks_a_model_depends_on_where_replies_are_kept() -> None:
    package = environment_package(TASK)
    for settings, replies in (({}, None), ({"write": 2}, Path("here"))):
        (stage,) = package.stages(package.data(**settings), package.config())
        assert data.arguments_of(stage, Path("here"))["replies"] == replies


def test_artifacts_arrive_as_paths_under_their_names() -> None:
    def function(first: int, artifacts: dict[str, Path], last: str = "x") -> list[Any]:
        return [first, artifacts, last]

    variant = with_inputs(function, ["b", "a"], "function_of_two")
    assert list(inspect.signature(variant).parameters) == ["first", "a", "b", "last"]
    assert variant.__name__ == "function_of_two"
    made = variant(first=1, a="one", b="two")
    assert made == [1, {"a": Path("one"), "b": Path("two")}, "x"]
