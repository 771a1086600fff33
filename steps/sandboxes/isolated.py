"""ZenML's Sandbox component, flavor ``isolated``: programs confined by this machine's kernel.

Needs neither Docker nor an account. See ``environment/code/sandbox/isolated.py`` for its requirements
and limits, and ``steps/sandboxes/programs.py`` for the commands that it runs.
"""

from __future__ import annotations

from typing import Literal, cast

from pydantic import Field
from zenml.sandboxes import (
    BaseSandbox,
    BaseSandboxConfig,
    BaseSandboxFlavor,
    BaseSandboxSettings,
    SandboxSession,
)

from environment.code.sandbox.base import Limits, Sandbox
from environment.code.sandbox.bubblewrap import BubblewrapSandbox
from environment.code.sandbox.isolated import IsolatedSandbox
from steps.sandboxes.programs import ProgramSession

_KINDS = {"isolated": IsolatedSandbox, "bubblewrap": BubblewrapSandbox}


class IsolatedSandboxSettings(BaseSandboxSettings):
    kind: Literal["isolated", "bubblewrap"] = Field(
        default="isolated", description="bubblewrap adds namespaces."
    )
    limits: Limits = Field(
        default_factory=Limits,
        description="Limits of each command: wall_s, cpu_s, memory_mib, output_kib, files_mib, "
        "threads, open_files.",
    )
    workers: int = Field(default=4, ge=1, description="Concurrent commands of a session.")


class IsolatedSandboxConfig(BaseSandboxConfig, IsolatedSandboxSettings):
    """The component's own settings."""


class IsolatedSandboxComponent(BaseSandbox):
    """Runs Python programs, each from a fresh state."""

    @property
    def settings_class(self) -> type[IsolatedSandboxSettings]:
        return IsolatedSandboxSettings

    def create_session(
        self, settings: BaseSandboxSettings | None = None, destroy_on_exit: bool = False
    ) -> SandboxSession:
        """
        Raises:
            SandboxUnavailable: the kernel lacks a feature; the message names it.
        """
        resolved = cast("IsolatedSandboxSettings", self.resolve_settings(settings))
        return ProgramSession(
            lambda: _started(_KINDS[resolved.kind](resolved.limits, resolved.workers)),
            self._resolve_session_environment(resolved),
            parent=self,
            destroy_on_exit=destroy_on_exit,
        )

    def open_sandbox(self, limits: Limits, workers: int) -> Sandbox:
        """See ``environment.code.sandbox.stack.RunsPrograms``."""
        resolved = cast("IsolatedSandboxSettings", self.resolve_settings())
        return _KINDS[resolved.kind](limits, workers)


async def _started(sandbox: IsolatedSandbox) -> Sandbox:
    await sandbox.start()
    return sandbox


class IsolatedSandboxFlavor(BaseSandboxFlavor):
    @property
    def name(self) -> str:
        return "isolated"

    @property
    def config_class(self) -> type[IsolatedSandboxConfig]:
        return IsolatedSandboxConfig

    @property
    def implementation_class(self) -> type[IsolatedSandboxComponent]:
        return IsolatedSandboxComponent
