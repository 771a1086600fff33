"""The sandbox's end of a cell: the pipes to one program, and what is known of its state."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass

_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Ending:
    """How a cell ended, as the zygote saw it.

    Args:
        reason: why it was ended; empty if it ended of itself.
        code: the exit code; negative for a signal.
        cpu_s: seconds of processor time.
    """

    reason: str
    code: int
    cpu_s: float


class Output:
    """One of a program's outputs, kept up to a bound."""

    def __init__(self, descriptor: int, bound: int) -> None:
        self._descriptor, self._bound = descriptor, bound
        self._data = bytearray()

    @property
    def over(self) -> bool:
        """Whether there was more than the bound."""
        return len(self._data) > self._bound

    @property
    def text(self) -> str:
        return self._data[: self._bound].decode("utf-8", errors="replace")

    def fileno(self) -> int:
        return self._descriptor

    def read(self) -> bool:
        """Take what is there. Returns: whether more may come."""
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
        ready: done when the cell is locked down and waits for its program.
        ended: done when the cell is gone, and its folder too.
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
        """The descriptors that go to the cell."""
        return [self._program.fileno(), self._out, self._err]

    def hand_over(self) -> None:
        """Close what the cell has by now."""
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
                future.exception()  # nobody may be waiting
