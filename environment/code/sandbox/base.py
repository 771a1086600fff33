"""The contract of a sandbox: run one untrusted Python program, in a state that nothing else sees.

What a program does badly is a result (a ``Status``), whatever it was. What the sandbox itself
cannot do raises ``SandboxError``: it is never the program's fault, and never scored as such.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pydantic import Field

from environment.base import EnvironmentUnavailable, StrictModel, WorldFailed


class SandboxUnavailable(EnvironmentUnavailable):
    """No program can be run safely here; the text says what to install or to configure."""


class SandboxError(WorldFailed):
    """The sandbox failed, not the program in it."""

    kind = "sandbox"


class Limits(StrictModel):
    """Bounds of one execution."""

    wall_s: float = Field(10.0, gt=0, description="Seconds by the clock.")
    cpu_s: int = Field(5, ge=1, description="Seconds of processor time.")
    memory_mib: int = Field(512, ge=64)
    output_kib: int = Field(64, ge=1, description="Of stdout, and the same again of stderr.")
    files_mib: int = Field(16, ge=1, description="What it may write to its own folder.")
    threads: int = Field(16, ge=1)
    open_files: int = Field(64, ge=16)


class Status(StrEnum):
    """How an execution ended."""

    OK = "ok"
    """The program ended with exit code 0."""
    FAILED = "failed"
    """It ended with another code, or by a signal of its own making."""
    TIMEOUT = "timeout"
    """It was ended: too long by the clock or by the processor."""
    MEMORY = "memory"
    """It ended because it wanted too much memory."""
    OUTPUT = "output"
    """It was ended: it wrote too much."""


@dataclass(frozen=True, slots=True)
class Execution:
    """What became of one program.

    Args:
        stdout, stderr: cut at ``Limits.output_kib``; bytes that are no UTF-8 are replaced.
        seconds: by the clock, from the request to the result.
        queued_s: of these, spent waiting for a free place in the sandbox.
    """

    status: Status
    exit_code: int | None
    stdout: str
    stderr: str
    seconds: float
    queued_s: float = 0.0


class Sandbox(ABC):
    """Somewhere to run programs. One serves many rollouts at once, all on one event loop.

    Attributes:
        name: of its kind, for logs and metrics.
    """

    name: str

    @abstractmethod
    async def run(self, program: str, tags: Mapping[str, str]) -> Execution:
        """Run a Python program in a fresh state: an empty folder, an empty environment, no network.

        Args:
            program: the source text; it runs as ``__main__``, with nothing on stdin.
            tags: job and problem, for sandboxes that can show them.

        Raises:
            SandboxError: the sandbox failed.
        """

    @abstractmethod
    async def close(self) -> None:
        """End whatever still runs, and leave no process and no folder behind. The loop that ``run``
        was called on may have ended."""
