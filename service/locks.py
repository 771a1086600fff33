"""File locks, which the kernel releases when their holder exits.

A worker holds the lock of its run, so no two workers share one. The lock shows whether a worker is
alive; a process id could not, since the kernel reuses them.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_RETRY_S = 0.05


class LockHeld(RuntimeError):
    """Another process holds the lock."""


@contextmanager
def holding(path: Path, patience_s: float = 0.0) -> Iterator[None]:
    """Hold the lock; the file then contains the id of this process.

    Args:
        patience_s: how long to retry. ``holder`` also takes the lock for a moment.

    Raises:
        LockHeld: another process has it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + patience_s
        while not _take(descriptor):
            if time.monotonic() >= deadline:
                raise LockHeld(f"{path.name} is held by another process")
            time.sleep(_RETRY_S)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        yield
    finally:
        os.close(descriptor)


def holder(path: Path) -> int | None:
    """Id of the process that holds the lock; None if it is free, 0 if the id is not written yet."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if _take(descriptor):
            return None
        text = os.read(descriptor, 20)
        return int(text) if text else 0
    finally:
        os.close(descriptor)


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
