"""Where steps run by configuration; on a real cluster's stand-in in test_kubernetes_training."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from kubernetes.client import V1PodSpec
from zenml.config.step_configurations import StepConfigurationUpdate
from zenml.integrations.kubernetes.flavors import KubernetesStepOperatorSettings
from zenml.integrations.kubernetes.pod_settings import KubernetesPodSettings
from zenml.integrations.skypilot_aws.flavors.skypilot_orchestrator_aws_vm_flavor import (
    SkypilotAWSOrchestratorSettings,
)
from zenml.steps import BaseStep

from pipelines import evaluation, training
from pipelines.config import ConfigError, load_config, parse_config
from pipelines.placement import (
    active_stack,
    check_steps,
    runs_here,
    steps_of,
    zenml_options,
)
from steps.by_name import StepByName
from steps.ticks import HOOK
from tests.pipelines.conftest import ROOT, Project, settings

PAGE = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
ELSEWHERE = {"training_k8s": "train", "evaluation_k8s": "eval"}
PARTS = ("data", "train", "eval")
GPU_STEPS = {"train": "train_agent", "eval": "run_inference"}


def test_the_steps_are_those_of_the_pipelines() -> None:
    config = parse_config({})
    for part, module in (("train", training), ("eval", evaluation)):
        called = {one.name for one in vars(module).values() if isinstance(one, BaseStep)} | {
            one.taking([]).name for one in vars(module).values() if isinstance(one, StepByName)
        }
        assert called - {"rescore_rollouts"} == set(steps_of(config, part))
        assert GPU_STEPS[part] in called


@pytest.mark.parametrize(
    ("values", "steps"),
    [
        ((), ("download_enron_data", "create_database", "load_scenarios")),
        (
            ("data.scenarios=llm",),
            ("download_enron_data", "create_database", "write_scenarios", "load_scenarios"),
        ),
        (("environment.name=code",), ("load_problems",)),
        (("environment.name=prompt_task",), ("load_examples",)),
        (("environment.name=prompt_task", "data.write=2"), ("write_examples",)),
    ],
)
def test_the_steps_of_the_data_are_the_environments_stages(
    values: tuple[str, ...], steps: tuple[str, ...]
) -> None:
    assert steps_of(load_config([], values), "data") == steps


def test_without_a_word_everything_runs_here() -> None:
    config = parse_config({})
    check_steps(config)
    assert all(runs_here(config, s) for part in PARTS for s in steps_of(config, part))
    hook = {"success_hook_source": HOOK}
    steps = dict.fromkeys(steps_of(config, "train"), hook)
    assert zenml_options(config, "train") == {"settings": {}, "steps": steps}


def test_a_pipeline_gets_the_configuration_of_its_own_steps() -> None:
    config = parse_config(
        {"steps": {"train_agent": {"enable_cache": False}, "run_inference": {"extra": {"a": 1}}}}
    )
    train, evaluation = (zenml_options(config, part)["steps"] for part in ("train", "eval"))
    assert train["train_agent"] == {"enable_cache": False, "success_hook_source": HOOK}
    assert evaluation["run_inference"] == {"extra": {"a": 1}, "success_hook_source": HOOK}
    assert train.keys() == set(steps_of(config, "train"))
    assert zenml_options(config, "data")["steps"].keys() == set(steps_of(config, "data"))


@pytest.mark.parametrize(
    ("step", "complaint"),
    [
        ({"train_agnt": {}}, "there is no step train_agnt; there are .*train_agent"),
        ({"train_agent": {"step_operater": "gpu"}}, "knows no key step_operater of a step"),
        (
            {"train_agent": {"retry": {"max_retries": -1}}},
            r"steps\.train_agent\.retry\.max_retries: ",
        ),
        (
            {"train_agent": {"step_operator": "gpu"}},
            "the stack default has no step operator gpu; docs/kubernetes.md has the commands",
        ),
    ],
)
def test_what_zenml_would_ignore_is_refused(step: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        check_steps(parse_config({"steps": step}))


def test_an_unknown_stack_is_told_before_anything_runs(project: Project) -> None:
    done = project.run("--pipeline", "train", *settings("stack=nowhere"))
    assert done.code == 2
    assert "stack: ZenML knows no stack nowhere; zenml stack list shows them" in done.message
    with pytest.raises(ConfigError), active_stack("nowhere"):
        pytest.fail("there is none")


@pytest.mark.parametrize("name", ELSEWHERE)
def test_only_the_gpu_step_is_sent_away(name: str) -> None:
    config = load_config([ROOT / "configs" / f"{name}.yaml"])
    step = GPU_STEPS[ELSEWHERE[name]]
    assert list(config.steps) == [step]
    assert not runs_here(config, step)
    assert config.steps[step]["step_operator"] == "gpu"
    assert f"zenml stack register {config.stack} " in PAGE
    assert "zenml step-operator register gpu " in PAGE


@pytest.mark.parametrize("name", ELSEWHERE)
def test_zenml_knows_every_setting_of_the_pod(name: str) -> None:
    """ZenML takes any key and drops those it does not know."""
    config = load_config([ROOT / "configs" / f"{name}.yaml"])
    (step,) = config.steps.values()
    StepConfigurationUpdate.model_validate(step)
    written = step["settings"]["step_operator.kubernetes"]
    assert written.keys() <= KubernetesStepOperatorSettings.model_fields.keys()
    pod = written["pod_settings"]
    assert pod.keys() <= KubernetesPodSettings.model_fields.keys()
    assert pod["additional_pod_spec_args"].keys() <= V1PodSpec.openapi_types.keys()


def test_what_is_evaluated_in_the_cluster_is_what_was_trained_there() -> None:
    training, evaluation = (load_config([ROOT / "configs" / f"{name}.yaml"]) for name in ELSEWHERE)
    assert training.backend == evaluation.backend
    assert training.rollout == evaluation.rollout
    assert training.environment == evaluation.environment
    assert training.settings == evaluation.settings
    assert training.stack == evaluation.stack


def test_the_cluster_trains_what_one_gpu_here_would() -> None:
    cluster, here = (
        load_config([ROOT / "configs" / f"training_{name}.yaml"]) for name in ("k8s", "local")
    )
    assert cluster.backend == here.backend
    assert cluster.rollout == here.rollout
    assert cluster.training.model_copy(update={"budget": here.training.budget}) == here.training


def test_the_documented_bounds_are_those_of_the_files() -> None:
    for name, pipeline in ELSEWHERE.items():
        config = load_config([ROOT / "configs" / f"{name}.yaml"])
        step = config.steps[GPU_STEPS[pipeline]]
        operator = step["settings"]["step_operator.kubernetes"]
        attempts = step["retry"]["max_retries"] + 1
        hours = operator["active_deadline_seconds"] / 3600
        gpus = int(operator["pod_settings"]["resources"]["limits"]["nvidia.com/gpu"])
        row = f"| {pipeline} | {attempts} attempts × {hours:g} h × {gpus} GPU = "
        assert f"{row}{attempts * hours * gpus:g} |" in PAGE
    judge = load_config([ROOT / "configs" / "training_k8s.yaml"]).judge
    assert f"| judge: {judge.max_cost_usd:g} USD |" in PAGE


def test_the_packages_for_the_bucket_are_those_that_are_deployed_and_documented() -> None:
    names = ("training_k8s", "evaluation_k8s", "training_skypilot", "deployment_k8s")
    pins = [
        load_config([ROOT / "configs" / f"{name}.yaml"]).settings["docker"]["requirements"]
        for name in names
    ]
    assert all(pin == pins[0] for pin in pins)
    (command,) = re.findall(r"^pip install -c requirements.txt (.*)$", PAGE, re.MULTILINE)
    assert set(command.split()) <= set(pins[0])


def test_zenml_knows_every_setting_of_skypilot() -> None:
    config = load_config([ROOT / "configs" / "training_skypilot.yaml"])
    written = config.settings["orchestrator.vm_aws"]
    assert written.keys() <= SkypilotAWSOrchestratorSettings.model_fields.keys()
    validated = SkypilotAWSOrchestratorSettings.model_validate(written)
    assert validated.accelerators == "A100-80GB:1"
    # It is taken down, and soon; whatever happens to the client.
    assert validated.down
    assert validated.idle_minutes_to_autostop == 10
    assert config.training.budget.minutes == 210
    assert f"zenml stack register {config.stack} -o sky " in PAGE
    assert "zenml orchestrator register sky --flavor=vm_aws" in PAGE


def test_no_configuration_holds_a_key() -> None:
    for file in (ROOT / "configs").glob("*.yaml"):
        text = yaml.safe_dump(yaml.safe_load(file.read_text()))
        assert not re.search(r"sk-\w{8,}|hf_\w{8,}|AKIA\w+", text), file.name
