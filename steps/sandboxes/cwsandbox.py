"""ZenML's Sandbox component, flavor ``cwsandbox``: containers in CoreWeave's cloud.

A session is a container without network access that runs any command. Credentials come from the
environment: ``CWSANDBOX_API_KEY``, or ``WANDB_API_KEY`` with ``WANDB_ENTITY_NAME``.
"""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

from pydantic import Field
from zenml.sandboxes import (
    BaseSandbox,
    BaseSandboxConfig,
    BaseSandboxFlavor,
    BaseSandboxSettings,
    SandboxExecError,
    SandboxProcess,
    SandboxSession,
)

from environment.code.sandbox import cwsandbox
from environment.code.sandbox.base import Limits, Sandbox


class CwSandboxSettings(BaseSandboxSettings):
    image: str = Field(cwsandbox.IMAGE, description="Of the container.")
    cpus: float = Field(1, gt=0, description="Processors of the container.")
    memory_mib: int = Field(1024, ge=128, description="Memory of the container.")
    lifetime_s: int = Field(
        3600, ge=60, description="Seconds after which a session ends unconditionally."
    )
    tags: list[str] = Field(default_factory=list, description="Tags of the container at CoreWeave.")


class CwSandboxConfig(BaseSandboxConfig, CwSandboxSettings):
    """The component's own settings."""

    @property
    def is_remote(self) -> bool:
        # True would make ZenML require a remote server, which is not needed.
        return False


class CwSandboxProcess(SandboxProcess):
    def __init__(self, session: SandboxSession, process: Any) -> None:
        super().__init__(session=session, started_at=time.time())
        self._process = process

    def stdout(self) -> Iterator[str]:
        return self._session._wrap_stream(_lines(self._process.stdout), log_level=logging.INFO)

    def stderr(self) -> Iterator[str]:
        return self._session._wrap_stream(_lines(self._process.stderr), log_level=logging.ERROR)

    def wait(self, timeout: float | None = None) -> int:
        from cwsandbox import CWSandboxError

        try:
            return self._process.wait(timeout)
        except CWSandboxError as error:
            raise SandboxExecError(f"the command could not be run: {error}") from error

    def kill(self) -> None:
        """
        Raises:
            NotImplementedError: always; CoreWeave has no call for it.
        """
        raise NotImplementedError("CoreWeave cannot kill single commands; use session.destroy()")

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()


def _lines(chunks: Iterable[str]) -> Iterator[str]:
    """Split a stream of chunks into lines."""
    rest = ""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split("\n")
        yield from (f"{line}\n" for line in lines)
    if rest:
        yield rest


class CwSandboxSession(SandboxSession):
    def __init__(self, sandbox: Any, *, parent: BaseSandbox, destroy_on_exit: bool = False) -> None:
        self._sandbox = sandbox
        super().__init__(id=sandbox.sandbox_id, parent=parent, destroy_on_exit=destroy_on_exit)

    def _exec(
        self, command: str | list[str], *, cwd: str | None = None, env: dict[str, str] | None = None
    ) -> CwSandboxProcess:
        argv = shlex.split(command) if isinstance(command, str) else list(command)
        self._log_command(argv)
        if env:
            argv = ["env", *(f"{name}={value}" for name, value in env.items()), *argv]
        return CwSandboxProcess(self, self._sandbox.exec(argv, cwd=cwd))

    def _upload_file(self, local_path: str, remote_path: str) -> None:
        self._sandbox.write_file(remote_path, Path(local_path).read_bytes()).result()

    def _download_file(self, remote_path: str, local_path: str) -> None:
        Path(local_path).write_bytes(self._sandbox.read_file(remote_path).result())

    def _close(self) -> None:
        """The container keeps running until ``destroy`` or the end of its lifetime."""

    def _destroy(self) -> None:
        cwsandbox.stop(self._sandbox)


class CwSandboxComponent(BaseSandbox):
    @property
    def settings_class(self) -> type[CwSandboxSettings]:
        return CwSandboxSettings

    def create_session(
        self, settings: BaseSandboxSettings | None = None, destroy_on_exit: bool = False
    ) -> SandboxSession:
        """
        Raises:
            SandboxUnavailable: the package or a key is missing; the message says what to do.
            SandboxError: CoreWeave did not start the container.
        """
        resolved = cast("CwSandboxSettings", self.resolve_settings(settings))
        sandbox = cwsandbox.start(
            cwsandbox.credentials(),
            tags=[f"zenml-sandbox-component-id={self.id}", *resolved.tags],
            lifetime_s=resolved.lifetime_s,
            memory_mib=resolved.memory_mib,
            cpus=resolved.cpus,
            image=resolved.image,
            environment=self._resolve_session_environment(resolved),
        )
        return CwSandboxSession(sandbox, parent=self, destroy_on_exit=destroy_on_exit)

    def attach(self, session_id: str) -> SandboxSession:
        from cwsandbox import Sandbox as Remote

        auth = cwsandbox.credentials()
        return CwSandboxSession(Remote.from_id(session_id, auth=auth).result(), parent=self)

    def open_sandbox(self, limits: Limits, workers: int) -> Sandbox:
        """See ``environment.code.sandbox.stack.RunsPrograms``."""
        return cwsandbox.CwSandbox(limits, workers)


class CwSandboxFlavor(BaseSandboxFlavor):
    @property
    def name(self) -> str:
        return "cwsandbox"

    @property
    def config_class(self) -> type[CwSandboxConfig]:
        return CwSandboxConfig

    @property
    def implementation_class(self) -> type[CwSandboxComponent]:
        return CwSandboxComponent
