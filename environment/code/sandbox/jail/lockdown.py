"""Drops privileges in two stages: first in the zygote, then the rest in each cell.

A stage raises ``OSError`` at the first failure, and then no program runs.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from . import bpf, kernel

_MIB = 1 << 20
_NOBODY = 65534
_CAP_SETUID = 1 << 7
_READ = kernel.READ_FILE | kernel.READ_DIR
_OWN_FOLDER = (
    _READ
    | kernel.WRITE_FILE
    | kernel.TRUNCATE
    | kernel.MAKE_DIR
    | kernel.MAKE_REG
    | kernel.REMOVE_DIR
    | kernel.REMOVE_FILE
    | kernel.REFER
)
_DEVICES = {"/dev/null": kernel.READ_FILE | kernel.WRITE_FILE, "/dev/urandom": kernel.READ_FILE}
# In the standard library's folder, but not part of the library.
_NOT_LIBRARY = {"site-packages", "dist-packages", "test", "idlelib", "ensurepip", "turtledemo"}


@dataclass(frozen=True, slots=True)
class Bounds:
    """``base.Limits`` without pydantic.

    Args:
        interpreter: bytes of address space of Python itself, not counted against the program.
    """

    interpreter: int
    cpu_s: int
    memory_mib: int
    files_mib: int
    threads: int
    open_files: int


def go_first() -> None:
    """Make the OOM killer prefer programs over the training process."""
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def drop_root() -> None:
    """Change from root to nobody, without capabilities.

    If nobody cannot read the interpreter's library (often in root's home folder), files are still
    opened as root, restricted by Landlock.
    """
    if os.geteuid() != 0:
        return
    try:
        kernel.become(_NOBODY)
    except PermissionError:
        # A container's root that may not change its user.
        kernel.set_capabilities(permitted=0, effective=0)
        return
    try:
        with open(os.__file__, "rb"):
            pass
    except PermissionError:
        kernel.set_capabilities(permitted=_CAP_SETUID, effective=_CAP_SETUID)
        kernel.open_files_as(0)
    kernel.set_capabilities(permitted=0, effective=0)


def library() -> list[str]:
    """What a program may read besides its own folder: each module of the standard library.

    Listed one by one, because their folder often contains site-packages, too.
    """
    paths: list[str] = []
    for folder in filter(os.path.isdir, sys.path):
        inside = os.path.realpath(folder) + os.sep
        for name in os.listdir(folder):
            path = os.path.realpath(inside + name)
            if name not in _NOT_LIBRARY and path.startswith(inside):
                paths.append(path)
    return paths


def confine_zygote(folder: str) -> None:
    """Restrict what the zygote and its cells may open.

    Args:
        folder: the parent of the cells' folders.
    """
    kernel.no_new_privileges()
    kernel.not_dumpable()
    rules = _rules(library(), folder)
    rules.allow(os.path.dirname(folder), kernel.REMOVE_DIR)
    rules.enforce()


def _rules(readable: Iterable[str], folder: str) -> kernel.Landlock:
    rules = kernel.Landlock()
    for path in readable:
        rules.allow(path, _READ)
    for path, rights in _DEVICES.items():
        rules.allow(path, rights)
    rules.allow(folder, _OWN_FOLDER)
    return rules


def confine_cell(bounds: Bounds, folder: str, zygote: int, report: socket.socket) -> None:
    """Drop every privilege that a program does not need, verify that, and report it.

    Args:
        folder: the program's own.
        zygote: process id of the parent.
        report: receives the seccomp notification descriptor, then ``locked``.
    """
    kernel.no_new_privileges()
    kernel.not_dumpable()
    kernel.die_with_parent(signal.SIGKILL)
    if os.getppid() != zygote:
        raise OSError("the zygote is gone")
    os.chdir(folder)
    # The zygote's stricter, module-by-module rules still apply.
    readable = {os.path.realpath(entry) for entry in sys.path if os.path.isdir(entry)}
    _rules(readable, folder).enforce()
    listener = kernel.filter_calls(bpf.accounting(os.uname().machine), listen=True)
    try:
        # Before the limits: with RLIMIT_NOFILE descriptors of this user on their way between any
        # processes, the kernel sends no more.
        socket.send_fds(report, [b"listener"], [listener])
    finally:
        os.close(listener)  # kept, it would let the next write wait for an answer forever
    _limit(bounds)
    kernel.filter_calls(bpf.allowlist(os.uname().machine, os.getpid()))
    _verify()
    os.write(report.fileno(), b"locked")
    report.close()


def address_space() -> int:
    """Address space of this process, in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _limit(bounds: Bounds) -> None:
    for name, soft, hard in (
        ("RLIMIT_AS", memory := bounds.interpreter + bounds.memory_mib * _MIB, memory),
        ("RLIMIT_CPU", bounds.cpu_s, bounds.cpu_s + 1),
        ("RLIMIT_FSIZE", size := bounds.files_mib * _MIB, size),
        ("RLIMIT_NOFILE", bounds.open_files, bounds.open_files),
        ("RLIMIT_CORE", 0, 0),
        ("RLIMIT_MEMLOCK", 0, 0),
    ):
        resource.setrlimit(getattr(resource, name), (soft, hard))


def _verify() -> None:
    """Check that forbidden operations fail."""
    try:
        socket.socket(socket.AF_UNIX).close()
    except PermissionError:
        pass
    else:
        raise OSError("the seccomp filter lets sockets pass")
    try:
        os.listdir("/")
    except PermissionError:
        return
    raise OSError("Landlock lets the root folder be listed")
