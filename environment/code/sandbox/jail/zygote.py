"""The zygote: forks a cell for each program, counts what it uses up, ends it and cleans up after.

It is one thread around one ``epoll``, and never holds a program or its output: those go between
the sandbox and the cell directly, so that a cell, which is a copy of this process, starts with
nothing of another one in its memory.

Messages from the sandbox, as JSON over a SOCK_SEQPACKET socket: ``make`` (with the descriptors for
the program, stdout and stderr), ``start`` (the clock runs) and ``kill``. Messages to it: ``hello``
or ``unavailable`` once, then ``ready`` or ``broken`` and ``ended`` for each cell. When the socket
closes, or the process that started this one is gone, all cells end and their folders go.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from . import lockdown, program
from .account import Account

_ORPHAN_CHECK_S = 1.0
_LOCKDOWN_S = 60.0


@dataclass(slots=True)
class Cell:
    """One process, for one program."""

    id: int
    pid: int
    folder: str
    handle: int  # a pidfd
    report: socket.socket | None
    account: Account
    deadline: float
    listener: int = -1
    reason: str = ""
    ready: bool = False


class Zygote:
    """
    Args:
        control: to the sandbox.
        home: folder for the cells' folders.
    """

    def __init__(self, control: socket.socket, home: str, bounds: lockdown.Bounds) -> None:
        self._control, self._home, self._bounds = control, home, bounds
        self._cells: dict[int, Cell] = {}
        self._poll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._parent = os.getppid()
        self._open = True
        self._watch(control.fileno(), self._on_message)

    def serve(self) -> None:
        """Until the sandbox closes its end, or is gone."""
        while self._open and os.getppid() == self._parent:
            self._turn()

    def close(self) -> None:
        """End every cell, and wait for it."""
        for cell in self._cells.values():
            self._end(cell, "closed")
        while self._cells:
            self._turn()

    def _turn(self) -> None:
        now = time.monotonic()
        waits = [cell.deadline - now for cell in self._cells.values() if not cell.reason]
        happened = self._poll.poll(max(0.0, min([_ORPHAN_CHECK_S, *waits])))
        due = [(descriptor, self._handlers[descriptor], events) for descriptor, events in happened]
        for descriptor, handler, events in due:
            # An earlier handler may have closed it, and a later cell may have got its number.
            if self._handlers.get(descriptor) is handler:
                handler(events)
        now = time.monotonic()
        for cell in self._cells.values():
            if cell.deadline <= now and not cell.reason:
                self._end(cell, "wall" if cell.ready else f"took over {_LOCKDOWN_S:.0f} s")

    def _watch(self, descriptor: int, handler: Callable[[int], None]) -> None:
        self._handlers[descriptor] = handler
        self._poll.register(descriptor, select.EPOLLIN)

    def _forget(self, descriptor: int) -> None:
        if self._handlers.pop(descriptor, None):
            self._poll.unregister(descriptor)

    def _tell(self, **message: Any) -> None:
        if self._open:
            try:
                self._control.send(json.dumps(message).encode())
            except OSError:
                self._open = False

    def _on_message(self, events: int) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._control, 4096, 3)
        except ConnectionResetError:  # closed with messages of ours unread
            data, descriptors = b"", []
        if not data:
            self._open = False
            self._forget(self._control.fileno())
            return
        message = json.loads(data)
        if message["do"] == "make":
            self._make(message["cell"], descriptors)
            return
        cell = self._cells.get(message["cell"])
        if cell is None:
            return  # it has ended, and the sandbox is about to read so
        if message["do"] == "start":
            cell.deadline = time.monotonic() + message["wall_s"]
        else:
            self._end(cell, message["reason"])

    def _make(self, number: int, descriptors: list[int]) -> None:
        folder = f"{self._home}/{number}"
        os.mkdir(folder, 0o700)
        ours, theirs = socket.socketpair()
        zygote = os.getpid()
        try:
            pid = os.fork()
            if pid == 0:
                self._be_a_cell(folder, zygote, theirs, descriptors)
        except OSError as error:  # no process to be had, for now
            os.rmdir(folder)
            ours.close()
            self._tell(event="broken", cell=number, text=str(error))
            return
        finally:
            theirs.close()
            for descriptor in descriptors:
                os.close(descriptor)
        cell = self._cells[number] = Cell(
            id=number,
            pid=pid,
            folder=folder,
            handle=os.pidfd_open(pid),
            report=ours,
            account=self._account(),
            deadline=time.monotonic() + _LOCKDOWN_S,
        )
        self._watch(cell.handle, lambda _: self._on_end(cell))
        self._watch(ours.fileno(), lambda _: self._on_report(cell))

    def _account(self) -> Account:
        return Account(self._bounds.files_mib << 20, self._bounds.threads)

    def _be_a_cell(
        self, folder: str, zygote: int, report: socket.socket, descriptors: list[int]
    ) -> NoReturn:
        try:
            for name in (signal.SIGTERM, signal.SIGHUP):
                signal.signal(name, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            source = _only(report, *descriptors)
            report = socket.socket(fileno=4)
            try:
                lockdown.confine_cell(self._bounds, folder, zygote, report)
            except OSError as error:
                os.write(report.fileno(), str(error).encode())
                os._exit(1)
            text = b"".join(iter(lambda: os.read(source, 1 << 16), b""))
            os.close(source)
            program.run(text)
        finally:
            os._exit(1)

    def _on_report(self, cell: Cell) -> None:
        assert cell.report is not None
        data, descriptors, _, _ = socket.recv_fds(cell.report, 1000, 1)
        if descriptors:
            cell.listener = descriptors[0]
            self._watch(cell.listener, lambda events: self._on_call(cell, events))
            return
        if data == b"locked":
            cell.ready, cell.deadline = True, float("inf")
            cell.account = self._account()  # the lockdown wrote a line too
            self._tell(event="ready", cell=cell.id)
        elif data:
            cell.reason = data.decode(errors="replace")
        self._forget(cell.report.fileno())
        cell.report.close()
        cell.report = None

    def _on_call(self, cell: Cell, events: int) -> None:
        if events & select.EPOLLIN:
            cell.account.answer(cell.listener, cell.pid)
        elif events & select.EPOLLHUP:
            self._forget(cell.listener)

    def _end(self, cell: Cell, reason: str) -> None:
        cell.reason = cell.reason or reason
        os.kill(cell.pid, signal.SIGKILL)  # not reaped yet, so the number is still its own

    def _on_end(self, cell: Cell) -> None:
        _, status, usage = os.wait4(cell.pid, 0)
        while cell.report is not None:
            self._on_report(cell)  # why it could not be locked down, if it said so
        for descriptor in (cell.handle, cell.listener):
            if descriptor >= 0:
                self._forget(descriptor)
                os.close(descriptor)
        del self._cells[cell.id]
        shutil.rmtree(cell.folder)
        if not cell.ready:
            self._tell(event="broken", cell=cell.id, text=cell.reason or f"status {status}")
            return
        self._tell(
            event="ended",
            cell=cell.id,
            reason=cell.reason,
            code=os.waitstatus_to_exitcode(status),
            cpu_s=usage.ru_utime + usage.ru_stime,
        )


def _only(report: socket.socket, program_: int, out: int, err: int) -> int:
    """Keep stdin, the program's two outputs, the program at 3 and the report at 4; close the rest.

    Returns:
        The descriptor to read the program from.
    """
    high = [fcntl.fcntl(d, fcntl.F_DUPFD, 100) for d in (out, err, program_, report.detach())]
    nothing = os.open("/dev/null", os.O_RDONLY)  # the zygote's is one that all cells share
    for wanted, descriptor in enumerate([nothing, *high]):
        os.dup2(descriptor, wanted, inheritable=False)
    os.closerange(5, 1 << 20)
    return 3
