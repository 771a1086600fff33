"""Programs in the sandbox of the active stack of a real ZenML."""

from __future__ import annotations

import asyncio
import shlex
from typing import Annotated

import kubernetes_validate
import pytest
import yaml
from zenml import pipeline, step
from zenml.client import Client

from environment.code.sandbox.base import SandboxUnavailable, Status
from environment.code.sandbox.stack import StackSandbox, open_stack_sandbox
from tests.fakes.docker_sandboxes import DockerSandboxes
from tests.pipelines.sandbox_stacks import LIMITS, PAGE, own_zenml, register, zenml
from tests.pipelines.zenml_server import printed

__all__ = ["own_zenml"]


async def test_a_stack_with_docker_runs_programs_in_containers(
    own_zenml: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with DockerSandboxes() as daemon:
        monkeypatch.setenv("DOCKER_HOST", daemon.address)
        register("Docker")
        opened = open_stack_sandbox(LIMITS, 2)
        assert isinstance(opened, StackSandbox)
        ended = await opened.run("print(6 * 7)", {})
        await opened.close()
        assert (ended.status, ended.stdout) == (Status.OK, "42\n")
        assert daemon.created[0]["Image"] == "python:3.11-slim"
        assert not daemon.containers


def test_the_settings_of_a_step_hold_for_its_programs(
    own_zenml: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with DockerSandboxes() as daemon:
        monkeypatch.setenv("DOCKER_HOST", daemon.address)
        zenml("sandbox", "register", "of-steps", "--flavor=docker")
        zenml(*"stack register of-steps -o default -a default --sandbox=of-steps --set".split())
        run = grades()
        assert run is not None
        assert run.steps["grade"].output.load() == "42\n"
        assert {created["Image"] for created in daemon.created} == {"python:3.12"}
        assert not daemon.containers
    # Not one entry for each of a training's thousands of sessions.
    assert not [name for name in run.steps["grade"].run_metadata if name.startswith("sandbox.")]


@step(enable_cache=False, settings={"sandbox": {"image": "python:3.12"}})
def grade() -> Annotated[str, "printed"]:
    async def run() -> str:
        opened = open_stack_sandbox(LIMITS, 1)
        ended = await opened.run("print(6 * 7)", {})
        await opened.close()
        return ended.stdout

    return asyncio.run(run())


@pipeline(name="grades", enable_cache=False)
def grades() -> None:
    grade()


def test_a_stack_without_a_sandbox_is_told_how_to_get_one(own_zenml: None) -> None:
    Client().activate_stack("default")
    with pytest.raises(SandboxUnavailable, match="the ZenML stack 'default' has no sandbox") as no:
        open_stack_sandbox(LIMITS, 1)
    commands = [line for line in str(no.value).splitlines() if line.startswith("  zenml")]
    for command in commands:
        zenml(*shlex.split(command.replace("register docker", "register docker-again"))[1:])
    assert Client().active_stack.sandbox is not None


def test_a_stack_with_the_local_flavor_is_refused(own_zenml: None) -> None:
    zenml("sandbox", "register", "bare", "--flavor=local")
    zenml(*"stack register bare -o default -a default --sandbox=bare --set".split())
    with pytest.raises(SandboxUnavailable, match=r"'bare'.*isolates nothing"):
        open_stack_sandbox(LIMITS, 1)


def test_the_network_policy_is_one_for_our_pods() -> None:
    (text,) = printed(PAGE, "Kubernetes", "yaml")
    policy = yaml.safe_load(text)
    kubernetes_validate.validate(policy, "1.32", strict=True)
    assert policy["spec"]["podSelector"]["matchLabels"] == {"art-rl/sandbox": "program"}
