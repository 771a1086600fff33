"""A pool of single-use cells, locked down before their program arrives."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import shutil
import socket
import subprocess
from collections import deque
from collections.abc import Sequence

from environment.code.sandbox.base import SandboxError
from environment.code.sandbox.cell import Cell, Ending
from environment.code.sandbox.needs import unavailable

logger = logging.getLogger(__name__)

_START_S = 60.0
_CLOSE_S = 20.0


class Pool:
    """A zygote and its cells, bound to the event loop of the first ``take``.

    Args:
        command: starts the zygote; control descriptor and settings are appended.
        settings: the zygote's settings.
        places: concurrent programs, and the number of spare cells.
        output_bytes: limit for each output stream.
    """

    def __init__(
        self, command: Sequence[str], settings: dict[str, object], places: int, output_bytes: int
    ) -> None:
        self._command, self._settings = list(command), settings
        self._ahead, self._output_bytes = places, output_bytes
        self._places = asyncio.Semaphore(places)
        self._starting = asyncio.Lock()
        self._numbers = itertools.count()
        self._cells: dict[int, Cell] = {}
        self._spare: deque[Cell] = deque()
        self._outbox: deque[tuple[bytes, Cell | None]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._hello: asyncio.Future[None] | None = None
        self._burial: asyncio.Task[None] | None = None
        self._folder = ""
        self._closed = False

    async def start(self) -> None:
        """Start the zygote unless it is running, and wait for its first cell.

        Raises:
            SandboxUnavailable: the lockdown failed.
            SandboxError: the sandbox is closed.
        """
        async with self._starting:
            if self._closed:
                raise SandboxError("the sandbox is closed")
            if self._control is not None:
                if self._loop is not asyncio.get_running_loop():
                    raise RuntimeError("a sandbox belongs to the event loop that first used it")
                return
            await self._buried()
            self._launch()
            try:
                async with asyncio.timeout(_START_S):
                    assert self._hello is not None
                    await self._hello
                    self._fill(self._ahead)
                    await asyncio.shield(self._spare[0].ready)
            except BaseException as error:
                await self._stop()
                if isinstance(error, SandboxError):
                    raise unavailable(f"No program can be locked down here: {error}.") from error
                raise

    async def take(self) -> Cell:
        """A cell waiting for its program; the caller must ``give_back`` it.

        Raises:
            SandboxError: it could not be created or locked down.
        """
        await self._places.acquire()
        try:
            await self.start()
            self._fill(self._ahead + 1)
            cell = self._spare.popleft()
            try:
                await asyncio.shield(cell.ready)
            except BaseException:
                if cell.ready.done() and cell.ready.exception():
                    cell.close()
                else:
                    self._spare.appendleft(cell)  # cancelled: keep it for the next caller
                raise
        except BaseException:
            self._places.release()
            raise
        return cell

    def begin(self, cell: Cell, wall_s: float) -> None:
        """Start the cell's clock."""
        self._send({"do": "start", "cell": cell.number, "wall_s": wall_s})

    def end(self, cell: Cell, reason: str) -> None:
        """Kill the cell unless it has ended; ``Cell.ended`` is done once it is gone."""
        if not cell.ended.done():
            self._send({"do": "kill", "cell": cell.number, "reason": reason})

    def give_back(self, cell: Cell) -> None:
        """Kill the cell; its place is free once it is gone."""
        cell.close()
        cell.ended.add_done_callback(lambda _: self._places.release())
        with contextlib.suppress(SandboxError):  # gone with the zygote
            self.end(cell, "no longer wanted")

    async def close(self) -> None:
        """Kill all cells and remove their folders. May be called on another event loop."""
        self._closed = True
        async with self._starting:
            await self._stop()

    def _launch(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                [*self._command, str(theirs.fileno()), json.dumps(self._settings)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={"PYTHONHASHSEED": "0"},  # reproducible results
                cwd="/",
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._loop = asyncio.get_running_loop()
        self._control, self._hello = ours, self._loop.create_future()
        self._loop.add_reader(ours, self._on_messages)

    def _fill(self, number: int) -> None:
        while len(self._spare) < number:
            cell = Cell(next(self._numbers), self._output_bytes)
            self._cells[cell.number] = cell
            self._spare.append(cell)
            self._send({"do": "make", "cell": cell.number}, cell)

    def _send(self, message: dict[str, object], descriptors_of: Cell | None = None) -> None:
        if self._control is None:
            raise SandboxError("the sandbox is closed")
        self._outbox.append((json.dumps(message).encode(), descriptors_of))
        self._flush()

    def _flush(self) -> None:
        """Send queued messages, as many as the socket accepts for now."""
        assert self._loop is not None
        while self._control is not None and self._outbox:
            data, cell = self._outbox[0]
            try:
                socket.send_fds(self._control, [data], cell.theirs if cell else [])
            except BlockingIOError:
                self._loop.add_writer(self._control, self._flush)
                return
            except (BrokenPipeError, ConnectionResetError):
                return  # the zygote has ended; _on_messages handles that
            self._outbox.popleft()
            if cell is not None:
                cell.hand_over()
        if self._control is not None:
            self._loop.remove_writer(self._control)

    def _on_messages(self) -> None:
        while self._control is not None:
            try:
                data = self._control.recv(4096)
            except BlockingIOError:
                return
            except ConnectionResetError:
                data = b""
            if not data:
                self._lost(SandboxError("the zygote has ended"))
                return
            self._on_message(json.loads(data))

    def _on_message(self, message: dict[str, str | int | float]) -> None:
        event = message["event"]
        if event == "hello":
            assert self._hello is not None
            self._folder = str(message["folder"])
            self._hello.set_result(None)
        elif event == "unavailable":
            self._lost(SandboxError(str(message["text"])))
        elif event == "ready":
            self._cells[int(message["cell"])].ready.set_result(None)
        else:
            cell = self._cells.pop(int(message["cell"]))
            if event == "broken":
                cell.fail(SandboxError(f"a cell could not be locked down: {message['text']}"))
            else:
                ending = Ending(
                    str(message["reason"]), int(message["code"]), float(message["cpu_s"])
                )
                cell.ended.set_result(ending)

    def _lost(self, error: SandboxError) -> None:
        """Fail all cells: the zygote is gone or about to be."""
        assert self._control is not None
        assert self._hello is not None
        assert self._loop is not None
        if not self._loop.is_closed():
            self._loop.remove_reader(self._control)
            self._loop.remove_writer(self._control)
        self._control.close()
        self._control = None
        if not self._hello.done():
            self._hello.set_exception(error)
        for cell in self._cells.values():
            cell.fail(error)
        for cell in self._spare:
            cell.close()
        self._cells.clear()
        self._spare.clear()
        self._outbox.clear()
        running = asyncio.get_running_loop()
        self._burial = running.create_task(asyncio.to_thread(self._bury))

    def _bury(self) -> None:
        """Reap the zygote, and remove its folder in case it was killed."""
        assert self._process is not None
        try:
            self._process.wait(_CLOSE_S)
        except subprocess.TimeoutExpired:
            logger.warning("the zygote did not exit within %.0f s: killing it", _CLOSE_S)
            self._process.kill()
            self._process.wait()
        if self._folder:  # inside bubblewrap it is already gone
            shutil.rmtree(self._folder, ignore_errors=True)

    async def _buried(self) -> None:
        if self._burial is not None:
            await asyncio.shield(self._burial)

    async def _stop(self) -> None:
        if self._control is not None:
            self._lost(SandboxError("the sandbox is closed"))
        await self._buried()
