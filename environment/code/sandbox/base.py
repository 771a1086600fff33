"""The sandbox interface: run one untrusted Python program in a fresh, isolated state.

Whatever a program does wrong is a result (a ``Status``). A failure of the sandbox itself raises
``SandboxError``; it is never the program's fault and never scored as such.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pydantic import Field

from environment.base import EnvironmentUnavailable, StrictModel, WorldFailed


class SandboxUnavailable(EnvironmentUnavailable):
    """No program can run safely here; the message says what to install or configure."""


class SandboxError(WorldFailed):
    """The sandbox failed, not the program in it."""

    kind = "sandbox"


class Limits(StrictModel):
    """Resource limits of one execution."""

    wall_s: float = Field(10.0, gt=0, description="Wall-clock seconds.")
    cpu_s: int = Field(5, ge=1, description="Seconds of CPU time.")
    memory_mib: int = Field(512, ge=64)
    output_kib: int = Field(64, ge=1, description="Limit for each of stdout and stderr.")
    files_mib: int = Field(16, ge=1, description="Bytes written to its own folder.")
    threads: int = Field(16, ge=1)
    open_files: int = Field(64, ge=16)


class Status(StrEnum):
    """How an execution ended."""

    OK = "ok"
    """Exit code 0."""
    FAILED = "failed"
    """Another exit code, or a signal of the program's own making."""
    TIMEOUT = "timeout"
    """Exceeded its wall-clock or CPU limit."""
    MEMORY = "memory"
    """Ran out of memory."""
    OUTPUT = "output"
    """Exceeded its output limit."""


@dataclass(frozen=True, slots=True)
class Execution:
    """The result of one program.

    Args:
        stdout, stderr: truncated to ``Limits.output_kib``; invalid UTF-8 is replaced.
        seconds: wall-clock time from request to result.
        queued_s: the part of ``seconds`` spent waiting for a free slot.
    """

    status: Status
    exit_code: int | None
    stdout: str
    stderr: str
    seconds: float = 0.0
    queued_s: float = 0.0


class Sandbox(ABC):
    """Runs programs for many concurrent rollouts, all on one event loop.

    Attributes:
        name: the kind of sandbox, for logs and metrics.
    """

    name: str

    @abstractmethod
    async def run(self, program: str, tags: Mapping[str, str]) -> Execution:
        """Run a Python program with an empty folder, an empty environment and no network.

        Args:
            program: source text; runs as ``__main__`` with an empty stdin.
            tags: job and problem, for sandboxes that can display them.

        Raises:
            SandboxError: the sandbox failed.
        """

    @abstractmethod
    async def close(self) -> None:
        """Kill running programs and leave no process or folder behind. May be called after the
        loop of ``run`` has ended."""
