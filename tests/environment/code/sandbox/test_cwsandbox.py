"""Programs in CoreWeave sandboxes: the real package against a stand-in for its service."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from typing import Any

import pytest

from environment.code.sandbox.base import Limits, SandboxUnavailable
from environment.code.sandbox.cwsandbox import CwSandbox
from tests.environment.code.sandbox.container_cases import LIMITS, ContainerCases, Open

KEYS = (
    "CWSANDBOX_API_KEY",
    "AVIATO_API_KEY",
    "WANDB_API_KEY",
    "WANDB_ENTITY",
    "WANDB_ENTITY_NAME",
)


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in KEYS:
        monkeypatch.delenv(key, raising=False)


@pytest.fixture
def package() -> Any:
    import cwsandbox

    return cwsandbox


@pytest.fixture
def service(package: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from tests.fakes.coreweave_sandboxes import CoreWeaveSandboxes

    monkeypatch.setenv("CWSANDBOX_API_KEY", "key")
    with CoreWeaveSandboxes() as service:
        monkeypatch.setenv("CWSANDBOX_BASE_URL", service.address)
        yield service


@pytest.fixture
def open_sandbox(service: Any) -> Open:
    def open_sandbox(limits: Limits, workers: int) -> CwSandbox:
        return CwSandbox(limits, workers)

    return open_sandbox


class TestCoreWeave(ContainerCases):
    async def test_a_sandbox_is_bounded_tagged_and_without_network(
        self, open_sandbox: Open, service: Any
    ) -> None:
        opened = open_sandbox(LIMITS, 1)
        await opened.run("print(1)", {"problem": "mbpp/601"})
        await opened.close()
        (created,) = service.created
        assert created.network.deny_egress
        assert created.network.deny_ingress
        assert list(created.tags) == ["problem=mbpp/601"]
        assert LIMITS.wall_s < created.max_lifetime_seconds < 600
        (container,) = created.containers
        assert container.image == "python:3.11"
        assert dict(container.environment_variables) == {}
        limits = container.resource_requirements.limits
        assert (limits.cpu, limits.memory) == ("1", "256Mi")
        assert service.keys[0]["authorization"] == "Bearer key"

    async def test_one_that_does_not_start_is_the_services_fault(
        self, open_sandbox: Open, service: Any
    ) -> None:
        from environment.code.sandbox.base import SandboxError

        service.never_runs = True
        opened = open_sandbox(LIMITS, 1)
        with pytest.raises(SandboxError, match=r"did not start.*image not found"):
            await opened.run("print(1)", {})
        await opened.close()

    async def test_a_key_of_wandb_is_as_good(
        self, open_sandbox: Open, service: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("CWSANDBOX_API_KEY")
        monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
        monkeypatch.setenv("WANDB_ENTITY_NAME", "team")
        opened = open_sandbox(LIMITS, 1)
        await opened.run("print(1)", {})
        await opened.close()
        sent = service.keys[0]
        assert (sent["x-wandb-api-key"], sent["x-entity-id"]) == ("k" * 40, "team")


@pytest.mark.parametrize("there", [{}, {"WANDB_API_KEY": "k"}, {"AVIATO_API_KEY": "k"}])
def test_a_missing_key_is_named(
    package: Any, there: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in there.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SandboxUnavailable, match=r"CWSANDBOX_API_KEY.*WANDB_ENTITY_NAME") as raised:
        CwSandbox(LIMITS, 1)
    assert ("AVIATO_API_KEY" in str(raised.value)) == ("AVIATO_API_KEY" in there)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **named: Any) -> Any:
        if name == "cwsandbox":
            raise ModuleNotFoundError(name)
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setenv("CWSANDBOX_API_KEY", "key")
    with pytest.raises(SandboxUnavailable, match=r"pip install -c requirements-dev\.txt cwsandbox"):
        CwSandbox(LIMITS, 1)
