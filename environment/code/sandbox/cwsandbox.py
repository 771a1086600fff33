"""Programs in CoreWeave sandboxes: single-use containers in CoreWeave's cloud.

The optional package ``cwsandbox`` is imported only here, inside functions.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from environment.code.sandbox.base import Limits, SandboxError, SandboxUnavailable
from environment.code.sandbox.containers import GRACE_S, PROBE_S, ContainerSandbox, Ended

IMAGE = "python:3.11"
START_S = 180.0  # includes scheduling and pulling the image
REQUEST_S = 30.0
SPARE_MIB = 128
_NO_PACKAGE = (
    "the sandbox cwsandbox needs the package of that name, version 1.22 or newer: pip install "
    "-c requirements-dev.txt cwsandbox"
)
_NO_KEY = (
    "the sandbox cwsandbox needs a key: set CWSANDBOX_API_KEY, or WANDB_API_KEY with "
    "WANDB_ENTITY_NAME, the team that has access to CoreWeave sandboxes."
)
_OLD_KEY = " AVIATO_API_KEY is set, but the package no longer reads that old name."


class CwSandbox(ContainerSandbox):
    """
    Args:
        workers: concurrent containers; the service may allow fewer. They show a program's tags as
            ``name=value``.

    Raises:
        SandboxUnavailable: the package or a key is missing.
    """

    def __init__(self, limits: Limits, workers: int) -> None:
        auth = credentials()

        def make(tags: Mapping[str, str]) -> _CwContainer:
            return _CwContainer(
                start(
                    auth,
                    tags=[f"{name}={value}" for name, value in tags.items()],
                    lifetime_s=START_S + limits.wall_s + GRACE_S + PROBE_S + REQUEST_S,
                    memory_mib=limits.memory_mib + SPARE_MIB,
                )
            )

        super().__init__("cwsandbox", make, limits, workers)


def credentials() -> Any:
    """The ``auth`` argument of the package's calls.

    Raises:
        SandboxUnavailable: the package or a key is missing.
    """
    try:
        from cwsandbox import AuthStrategy, WandbAuth
    except ImportError as error:
        raise SandboxUnavailable(_NO_PACKAGE) from error
    if os.environ.get("CWSANDBOX_API_KEY"):
        return AuthStrategy.COREWEAVE_API_KEY
    # WANDB_ENTITY is W&B's own name for it.
    entity = os.environ.get("WANDB_ENTITY_NAME") or os.environ.get("WANDB_ENTITY")
    if os.environ.get("WANDB_API_KEY") and entity:
        return WandbAuth(entity=entity)
    raise SandboxUnavailable(_NO_KEY + (_OLD_KEY if os.environ.get("AVIATO_API_KEY") else ""))


def start(
    auth: Any,
    tags: Sequence[str],
    lifetime_s: float,
    memory_mib: int,
    cpus: float = 1,
    image: str = IMAGE,
    environment: Mapping[str, str] | None = None,
) -> Any:
    """Start a ``cwsandbox.Sandbox`` without network access. The caller must ``stop`` it.

    Args:
        lifetime_s: the service kills the sandbox after this time.

    Raises:
        SandboxError: it did not start.
    """
    from cwsandbox import CWSandboxError, NetworkOptions, Sandbox

    try:
        sandbox = Sandbox.run(
            container_image=image,
            auth=auth,
            tags=list(tags),
            max_lifetime_seconds=lifetime_s,
            resources={"cpu": f"{cpus:g}", "memory": f"{memory_mib}Mi"},
            network=NetworkOptions(deny_egress=True, deny_ingress=True),
            environment_variables=dict(environment or {}),
            request_timeout_seconds=REQUEST_S,
            # A direct connection does not pay off for a single command.
            data_plane_mode="gateway",
        )
    except CWSandboxError as error:
        raise SandboxError(f"cwsandbox: could not create a sandbox: {error}") from error
    try:
        return sandbox.wait(timeout=START_S)
    except CWSandboxError as error:
        stop(sandbox)
        raise SandboxError(f"cwsandbox: {sandbox.sandbox_id} did not start: {error}") from error


def stop(sandbox: Any) -> None:
    """Kill a sandbox; no error if it is already gone.

    Raises:
        SandboxError: the service failed.
    """
    from cwsandbox import CWSandboxError

    try:
        sandbox.stop(missing_ok=True, graceful_shutdown_seconds=0).result()
    except CWSandboxError as error:
        raise SandboxError(f"cwsandbox: cannot stop {sandbox.sandbox_id}: {error}") from error


class _CwContainer:
    def __init__(self, sandbox: Any) -> None:
        self._sandbox = sandbox

    def execute(self, command: Sequence[str], timeout_s: float) -> Ended | None:
        from cwsandbox import CWSandboxError, SandboxTimeoutError

        try:
            done = self._sandbox.exec(list(command), timeout_seconds=timeout_s).result()
        except SandboxTimeoutError:
            return None
        except CWSandboxError as error:
            raise SandboxError(f"cwsandbox: cannot run the command: {error}") from error
        return Ended(done.returncode, done.stdout)

    def destroy(self) -> None:
        stop(self._sandbox)
