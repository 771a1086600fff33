"""Programs in separate processes that drop their privileges: rlimits, Landlock, seccomp.

Needs no package, root or namespaces, only Linux 5.13 or newer. A program can still see whether a
path or process exists and a file's size and times (Landlock does not hide these), the standard
library, and the kernel version. ``tests/environment/code/sandbox/`` lists what it cannot do.

It does not protect against kernel vulnerabilities: run programs of attackers in a virtual machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from environment.base import off_the_clock
from environment.code.sandbox import needs
from environment.code.sandbox.base import Execution, Limits, Sandbox, Status
from environment.code.sandbox.cell import Cell, Ending, Output
from environment.code.sandbox.pool import Pool

PACKAGE = Path(__file__).parent
_START = "import sys; sys.path.insert(0, sys.argv[1]); from jail.start import main; main()"
_KIB = 1 << 10


def interpreter() -> Path:
    """The base interpreter of a virtual environment, with symlinks resolved."""
    return Path(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))


def zygote_command() -> list[str]:
    """Starts a zygote with access to the standard library only."""
    return [str(interpreter()), "-P", "-s", "-S", "-B", "-X", "utf8", "-c", _START, str(PACKAGE)]


class IsolatedSandbox(Sandbox):
    """Bound to the event loop that first uses it.

    Args:
        limits: per execution.
        workers: concurrent programs; others queue.
        folder: parent of temporary folders; the system's default if empty.

    Raises:
        SandboxUnavailable: the kernel lacks a required feature.
    """

    name = "isolated"

    def __init__(self, limits: Limits, workers: int = 8, folder: str = "") -> None:
        needs.check()
        self._limits = limits
        self._pool = Pool(
            self._command(),
            settings={
                "folder": folder or tempfile.gettempdir(),
                **limits.model_dump(exclude={"wall_s", "output_kib"}),
            },
            places=workers,
            output_bytes=limits.output_kib * _KIB,
        )

    def _command(self) -> Sequence[str]:
        return zygote_command()

    async def start(self) -> None:
        """Prepare the first cells now rather than on the first ``run``.

        Raises:
            SandboxUnavailable: a lockdown failed.
        """
        await self._pool.start()

    async def run(self, program: str, tags: Mapping[str, str]) -> Execution:
        """See ``Sandbox.run``. ``tags`` are ignored."""
        start = time.monotonic()
        with off_the_clock():
            cell = await self._pool.take()
        began = time.monotonic()
        try:
            ending = await self._execute(cell, program)
            # Drain what the program wrote before it ended.
            for output in (cell.stdout, cell.stderr):
                output.read()
        finally:
            self._pool.give_back(cell)
        status, code = self._verdict(cell, ending)
        return Execution(
            status=status,
            exit_code=code,
            stdout=cell.stdout.text,
            stderr=cell.stderr.text,
            seconds=time.monotonic() - start,
            queued_s=began - start,
        )

    async def close(self) -> None:
        await self._pool.close()

    async def _execute(self, cell: Cell, program: str) -> Ending:
        loop = asyncio.get_running_loop()
        self._pool.begin(cell, self._limits.wall_s)
        for output in (cell.stdout, cell.stderr):
            loop.add_reader(output.fileno(), self._on_output, cell, output)
        # A lone surrogate becomes invalid UTF-8 and thus the program's syntax error.
        source = program.encode("utf-8", errors="surrogatepass")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # killed meanwhile
            await loop.sock_sendall(cell.program, source)
            cell.program.shutdown(socket.SHUT_WR)
        return await asyncio.shield(cell.ended)

    def _on_output(self, cell: Cell, output: Output) -> None:
        if not output.read():
            asyncio.get_running_loop().remove_reader(output.fileno())
        if output.over:
            self._pool.end(cell, "output")

    def _verdict(self, cell: Cell, ending: Ending) -> tuple[Status, int | None]:
        if cell.stdout.over or cell.stderr.over:
            return Status.OUTPUT, None
        killed = ending.code == -signal.SIGKILL
        if killed and ending.reason == "wall":
            return Status.TIMEOUT, None
        # The kernel enforces its own count of CPU time, up to a third above what it reports in the
        # end. A process that ignores SIGXCPU gets SIGKILL.
        late = killed and ending.cpu_s >= self._limits.cpu_s / 2
        if late or ending.code == -signal.SIGXCPU:
            return Status.TIMEOUT, None
        if ending.code == 0:
            return Status.OK, 0
        last = cell.stderr.text.rstrip().rpartition("\n")[2]
        if ending.code == 1 and last.startswith("MemoryError"):
            return Status.MEMORY, 1
        return Status.FAILED, ending.code
