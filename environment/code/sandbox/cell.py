"""The sandbox's end of a cell: pipes to one program, and its state."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass

_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Ending:
    """How a cell ended, as reported by the zygote.

    Args:
        reason: why it was killed; empty if it exited by itself.
        code: exit code; negative for a signal.
        cpu_s: CPU seconds.
    """

    reason: str
    code: int
    cpu_s: float


class Output:
    """One of a program's output streams, kept up to a byte limit."""

    def __init__(self, descriptor: int, bound: int) -> None:
        self._descriptor, self._bound = descriptor, bound
        self._data = bytearray()

    @property
    def over(self) -> bool:
        return len(self._data) > self._bound

    @property
    def text(self) -> str:
        return self._data[: self._bound].decode("utf-8", errors="replace")

    def fileno(self) -> int:
        return self._descriptor

    def read(self) -> bool:
        """Read what is available; return whether more may come."""
        while not self.over:
            try:
                data = os.read(self._descriptor, _CHUNK)
            except BlockingIOError:
                return True
            if not data:
                return False
            self._data += data
        return False


class Cell:
    """The sandbox's end of one cell.

    Attributes:
        ready: done when the cell is locked down and waiting for its program.
        ended: done when the cell and its folder are gone.
    """

    def __init__(self, number: int, bound: int) -> None:
        self.number = number
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[Ending] = loop.create_future()
        self.program, self._program = socket.socketpair()
        out, self._out = os.pipe()
        err, self._err = os.pipe()
        for descriptor in (out, err):
            os.set_blocking(descriptor, False)
        self.program.setblocking(False)
        self.stdout, self.stderr = Output(out, bound), Output(err, bound)

    @property
    def theirs(self) -> list[int]:
        """The descriptors to pass to the cell."""
        return [self._program.fileno(), self._out, self._err]

    def hand_over(self) -> None:
        """Close our copies of the descriptors passed to the cell."""
        if self._program.fileno() >= 0:
            self._program.close()
            os.close(self._out)
            os.close(self._err)

    def close(self) -> None:
        self.hand_over()
        self.program.close()
        for output in (self.stdout, self.stderr):
            asyncio.get_running_loop().remove_reader(output.fileno())
            os.close(output.fileno())

    def fail(self, error: Exception) -> None:
        for future in (self.ready, self.ended):
            if not future.done() and not future.get_loop().is_closed():
                future.set_exception(error)
                future.exception()  # mark as retrieved: nobody may be waiting
