"""Programs in a process of their own that has given up its rights: rlimits, Landlock, seccomp.

Needs no package, no root and no namespaces, only Linux 5.13 or newer. What a program can still
see: that a path or a process exists, and a file's size and times (Landlock does not hide these);
the standard library; the kernel's version. What it cannot do is the list in
``tests/environment/code/sandbox/``.

It is no defence against a hole in the kernel: where programs come from people who mean harm, run
them in a virtual machine.
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
    """The Python that a virtual environment stands on, without links on the way."""
    return Path(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))


def zygote_command() -> list[str]:
    """Starts a zygote that sees the standard library and nothing else of Python."""
    return [str(interpreter()), "-P", "-s", "-S", "-B", "-X", "utf8", "-c", _START, str(PACKAGE)]


class IsolatedSandbox(Sandbox):
    """One belongs to the event loop that first uses it.

    Args:
        limits: of every execution.
        workers: programs at once; others wait.
        folder: where temporary folders are made; the system's, if empty.

    Raises:
        SandboxUnavailable: the kernel offers too little. Nothing is run then.
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
        """Lock the first cells down, which the first ``run`` would wait for.

        Raises:
            SandboxUnavailable: a lockdown failed.
        """
        await self._pool.start()

    async def run(self, program: str, tags: Mapping[str, str]) -> Execution:
        """See ``Sandbox.run``. ``tags`` are not shown anywhere."""
        asked = time.monotonic()
        with off_the_clock():
            cell = await self._pool.take()
        began = time.monotonic()
        try:
            ending = await self._execute(cell, program)
            # Of a program that is gone, all that it wrote lies in the pipes.
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
            seconds=time.monotonic() - asked,
            queued_s=began - asked,
        )

    async def close(self) -> None:
        await self._pool.close()

    async def _execute(self, cell: Cell, program: str) -> Ending:
        loop = asyncio.get_running_loop()
        self._pool.begin(cell, self._limits.wall_s)
        for output in (cell.stdout, cell.stderr):
            loop.add_reader(output.fileno(), self._on_output, cell, output)
        # A lone surrogate is no UTF-8; as three bytes it is the program's syntax error.
        source = program.encode("utf-8", errors="surrogatepass")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it was ended meanwhile
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
        # The kernel ends it by its own count of processor time, which is up to a third above what
        # it reports in the end; SIGKILL comes to who ignores the first signal.
        late = killed and ending.cpu_s >= self._limits.cpu_s / 2
        if late or ending.code == -signal.SIGXCPU:
            return Status.TIMEOUT, None
        if ending.code == 0:
            return Status.OK, 0
        last = cell.stderr.text.rstrip().rpartition("\n")[2]
        if ending.code == 1 and last.startswith("MemoryError"):
            return Status.MEMORY, 1
        return Status.FAILED, ending.code


async def open_isolated(limits: Limits, workers: int = 8, folder: str = "") -> IsolatedSandbox:
    """An isolated sandbox with its first cells ready.

    Raises:
        SandboxUnavailable: no program can be run safely here.
    """
    sandbox = IsolatedSandbox(limits, workers, folder)
    await sandbox.start()
    return sandbox
