"""A file lock, which the kernel releases when its holder ends.

Only the holder of a run's lock works on it, so two workers never share one. The lock, not a process
id, which the kernel reuses, shows whether a worker is alive.
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
        patience_s: how long to try. ``holder`` takes the lock for a moment, too.

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
    """The process that holds the lock; None if none does, 0 if its id is not written yet."""
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
