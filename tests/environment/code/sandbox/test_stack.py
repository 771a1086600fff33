"""Programs through ZenML's sandbox components, which here talk to stand-ins on loopback."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from environment.code.sandbox import stack_settings
from environment.code.sandbox.base import Limits, SandboxUnavailable, Status
from environment.code.sandbox.stack import StackSandbox
from tests.environment.code.sandbox.container_cases import LIMITS, ContainerCases, Open
from tests.fakes.docker_sandboxes import DockerSandboxes
from tests.fakes.kubernetes_pods import KubernetesPods


def component(flavor: Any, **configured: Any) -> Any:
    """A sandbox component as ZenML makes it from what is registered."""
    from zenml.enums import StackComponentType

    now = datetime.now(UTC)
    return flavor.implementation_class(
        name="ours",
        id=uuid4(),
        config=flavor.config_class(**configured),
        flavor=flavor.name,
        type=StackComponentType.SANDBOX,
        user=None,
        created=now,
        updated=now,
    )


def docker(**configured: Any) -> Any:
    from zenml.sandboxes import DockerSandboxFlavor

    return component(DockerSandboxFlavor(), **configured)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 (it is another thread that makes it so)
            await asyncio.sleep(0.01)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[DockerSandboxes]:
    with DockerSandboxes() as daemon:
        monkeypatch.setenv("DOCKER_HOST", daemon.address)
        yield daemon


@pytest.fixture
def open_sandbox(service: DockerSandboxes) -> Open:
    def open_sandbox(limits: Limits, workers: int, **configured: Any) -> StackSandbox:
        return StackSandbox(docker(**configured), limits, workers)

    return open_sandbox


class TestDocker(ContainerCases):
    async def test_its_containers_are_as_strict_as_docker_can(
        self, open_sandbox: Open, service: DockerSandboxes
    ) -> None:
        theirs = {"runtime": "runsc", "network_mode": "host", "labels": {"team": "rl"}}
        environment = {"SECRET": "s3cr3t"}
        opened = open_sandbox(
            LIMITS, 1, image="python:3.12", run_args=theirs, sandbox_environment=environment
        )
        ended = await opened.run(
            "print(open(f'/proc/{__import__(\"os\").getppid()}/environ').read())", {"job": "first"}
        )
        await opened.close()
        assert "s3cr3t" not in ended.stdout
        created = next(one for one in service.created if "job" in one["Labels"])
        host = created["HostConfig"]
        assert created["Image"] == "python:3.12"
        assert created["User"].split(":")[0] not in {"", "0"}
        assert created["Labels"].items() >= {"team": "rl", "job": "first"}.items()
        assert host["Runtime"] == "runsc"
        assert host["NetworkMode"] == "none"
        assert host["ReadonlyRootfs"] is True
        assert list(host["Tmpfs"]) == ["/tmp"]
        assert host["CapDrop"] == ["ALL"]
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert host["Memory"] == host["MemorySwap"] == (128 + 128) * 2**20
        assert host["NanoCpus"] == 10**9
        assert host["PidsLimit"] == LIMITS.threads + 32
        assert "s3cr3t" not in str(service.created)

    async def test_containers_are_made_ahead(
        self, open_sandbox: Open, service: DockerSandboxes
    ) -> None:
        opened = open_sandbox(LIMITS, 2)
        assert not service.created
        await opened.run("print(1)", {})
        await until(lambda: len(service.containers) == 2)
        service.refuses = True
        for _ in range(2):
            assert (await opened.run("print(2)", {})).status is Status.OK
        await opened.close()
        assert not service.containers

    async def test_one_that_stood_too_long_is_replaced(
        self, open_sandbox: Open, service: DockerSandboxes, caplog: pytest.LogCaptureFixture
    ) -> None:
        opened = open_sandbox(LIMITS, 1)
        await opened.run("print(1)", {})
        await until(lambda: len(service.containers) == 1)
        stale = next(iter(service.containers))
        service.containers.pop(stale).remove()
        assert (await opened.run("print(2)", {})).stdout == "2\n"
        assert "replacing a pre-started container" in caplog.text
        await opened.close()

    async def test_it_says_nothing_where_docker_can_do_all(
        self, open_sandbox: Open, caplog: pytest.LogCaptureFixture
    ) -> None:
        await open_sandbox(LIMITS, 1).close()
        assert not caplog.records


class TestKubernetes(ContainerCases):
    @pytest.fixture
    def service(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubernetesPods]:
        from kubernetes.config import kube_config

        with KubernetesPods() as cluster:
            cluster.write_kubeconfig(tmp_path / "config", "ours")
            monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", f"{tmp_path}/config")
            yield cluster

    @pytest.fixture
    def open_sandbox(self, service: KubernetesPods) -> Open:
        from zenml.integrations.kubernetes.flavors import KubernetesSandboxFlavor

        def open_sandbox(limits: Limits, workers: int, **configured: Any) -> StackSandbox:
            pods = component(
                KubernetesSandboxFlavor(),
                kubernetes_context="ours",
                kubernetes_namespace="programs",
                max_api_retries=0,
                **configured,
            )
            return StackSandbox(pods, limits, workers)

        return open_sandbox

    async def test_its_pods_are_as_strict_as_zenml_can(
        self, open_sandbox: Open, service: KubernetesPods
    ) -> None:
        theirs = {
            "node_selectors": {"pool": "programs"},
            "labels": {"team": "rl"},
            "volumes": [{"name": "data", "emptyDir": {}}],
            "volume_mounts": [{"name": "data", "mountPath": "/data"}],
        }
        opened = open_sandbox(LIMITS, 1, pod_settings=theirs, privileged=True)
        assert (await opened.run("print(1)", {"job": "first/of many"})).status is Status.OK
        await opened.close()
        pod = next(one for one in service.created if "job" in one["metadata"]["labels"])
        assert (
            pod["metadata"]["labels"].items()
            >= {
                "art-rl/sandbox": "program",
                "job": "first-of-many",
                "team": "rl",
            }.items()
        )
        spec = pod["spec"]
        assert spec["nodeSelector"] == {"pool": "programs"}
        assert spec["automountServiceAccountToken"] is False
        assert spec["activeDeadlineSeconds"] == 3600
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert [v["name"] for v in spec["volumes"]] == ["data", "tmp"]
        (container,) = spec["containers"]
        assert container["resources"]["limits"]["memory"] == "256Mi"
        context = container["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] > 0
        assert context["privileged"] is False
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}


def test_the_local_flavor_is_refused() -> None:
    from zenml.sandboxes import LocalSandboxFlavor

    with pytest.raises(SandboxUnavailable, match=r"isolates nothing.*kind: isolated"):
        StackSandbox(component(LocalSandboxFlavor()), LIMITS, 1)


def test_modal_takes_what_it_is_given() -> None:
    from zenml.config import ResourceSettings
    from zenml.config.resource_settings import ByteUnit
    from zenml.integrations.modal.flavors.modal_sandbox_flavor import ModalSandboxSettings

    theirs = {"region": "eu", "timeout": 60, "sandbox_environment": {"SECRET": "s3cr3t"}}
    settings = ModalSandboxSettings(**stack_settings.strict("modal", theirs, LIMITS, {}))
    assert settings.region == "eu"
    assert settings.sandbox_environment == {}
    assert settings.timeout == 3600
    assert ResourceSettings(memory=settings.memory).get_memory(ByteUnit.MIB) == 256


async def test_what_a_flavor_cannot_set_is_said(caplog: pytest.LogCaptureFixture) -> None:
    from zenml.integrations.kubernetes.flavors import KubernetesSandboxFlavor

    with caplog.at_level(logging.WARNING):
        opened = StackSandbox(component(KubernetesSandboxFlavor()), LIMITS, 1)
    await opened.close()
    assert (
        "flavor kubernetes has no setting for network isolation (use a NetworkPolicy)"
        in caplog.text
    )
