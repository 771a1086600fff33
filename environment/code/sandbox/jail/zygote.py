"""The zygote: forks a cell per program, accounts for its resources, kills it and cleans up.

A single thread around one ``epoll``. Programs and their outputs pass between sandbox and cell
directly, so that a cell, being a copy of this process, has nothing of another one in its memory.

Messages from the sandbox, as JSON over a SOCK_SEQPACKET socket: ``make`` (with descriptors for the
program, stdout and stderr), ``start`` (starts the clock) and ``kill``. Messages to the sandbox:
``hello`` or ``unavailable`` once, then ``ready`` or ``broken`` and ``ended`` for each cell. When the
socket closes or the parent process is gone, all cells are killed and their folders removed.
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
_LOCKDOWN_S = 20.0


@dataclass(slots=True)
class Child:
    """The zygote's end of a cell: one process, for one program."""

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
        control: socket to the sandbox.
        home: parent of the cells' folders.
    """

    def __init__(self, control: socket.socket, home: str, bounds: lockdown.Bounds) -> None:
        self._control, self._home, self._bounds = control, home, bounds
        self._cells: dict[int, Child] = {}
        self._poll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._parent = os.getppid()
        self._open = True
        self._watch(control.fileno(), self._on_message)

    def serve(self) -> None:
        """Serve until the sandbox closes its end or is gone."""
        while self._open and os.getppid() == self._parent:
            self._turn()

    def close(self) -> None:
        """Kill every cell and wait for it."""
        for cell in self._cells.values():
            self._end(cell, "closed")
        while self._cells:
            self._turn()

    def _turn(self) -> None:
        now = time.monotonic()
        waits = [cell.deadline - now for cell in self._cells.values() if not cell.reason]
        polled = self._poll.poll(max(0.0, min([_ORPHAN_CHECK_S, *waits])))
        due = [(descriptor, self._handlers[descriptor], events) for descriptor, events in polled]
        for descriptor, handler, events in due:
            # An earlier handler may have closed the descriptor, and a new cell reused its number.
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
        except ConnectionResetError:  # closed before reading our messages
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
            return  # already ended; the sandbox is about to learn that
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
        except OSError as error:  # process limit reached
            os.rmdir(folder)
            ours.close()
            self._tell(event="broken", cell=number, text=str(error))
            return
        finally:
            theirs.close()
            for descriptor in descriptors:
                os.close(descriptor)
        cell = self._cells[number] = Child(
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

    def _on_report(self, cell: Child) -> None:
        assert cell.report is not None
        data, descriptors, _, _ = socket.recv_fds(cell.report, 1000, 1)
        if descriptors:
            cell.listener = descriptors[0]
            self._watch(cell.listener, lambda events: self._on_call(cell, events))
            return
        if data == b"locked":
            cell.ready, cell.deadline = True, float("inf")
            cell.account = self._account()  # reset: the lockdown wrote its report
            self._tell(event="ready", cell=cell.id)
        elif data:
            cell.reason = data.decode(errors="replace")
        self._forget(cell.report.fileno())
        cell.report.close()
        cell.report = None

    def _on_call(self, cell: Child, events: int) -> None:
        if events & select.EPOLLIN:
            cell.account.answer(cell.listener, cell.pid)
        elif events & select.EPOLLHUP:
            self._forget(cell.listener)

    def _end(self, cell: Child, reason: str) -> None:
        cell.reason = cell.reason or reason
        os.kill(cell.pid, signal.SIGKILL)  # not reaped yet, so the pid is still its own

    def _on_end(self, cell: Child) -> None:
        _, status, usage = os.wait4(cell.pid, 0)
        while cell.report is not None:
            self._on_report(cell)  # may say why the lockdown failed
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
    """Move the descriptors to 0 (empty stdin), 1, 2, 3 (program) and 4 (report); close the rest.

    Returns:
        The descriptor from which to read the program.
    """
    high = [fcntl.fcntl(d, fcntl.F_DUPFD, 100) for d in (out, err, program_, report.detach())]
    stdin = os.open("/dev/null", os.O_RDONLY)  # the zygote's own is shared by all cells
    for target, descriptor in enumerate([stdin, *high]):
        os.dup2(descriptor, target, inheritable=False)
    os.closerange(5, 1 << 20)
    return 3
