"""The zygote's folder for its cells' folders, and removal of those left by killed zygotes.

A zygote holds a lock on its folder, which the kernel releases however the zygote ends. So an
unlocked folder is stale, and the next zygote removes it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from dataclasses import dataclass

PREFIX = "art-rl-sandbox-"


@dataclass(frozen=True, slots=True)
class Home:
    """A folder and the lock on it."""

    path: str
    lock: int

    def remove(self) -> None:
        shutil.rmtree(self.path)
        os.close(self.lock)


def make(parent: str) -> Home:
    """Create a folder in ``parent``, and remove this user's stale ones."""
    while True:
        path = tempfile.mkdtemp(prefix=PREFIX, dir=parent)
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.isdir(path):
            break
        os.close(lock)  # another zygote removed it before it was locked
    for name in os.listdir(parent):
        if name.startswith(PREFIX):
            _remove_if_stale(f"{parent}/{name}", os.fstat(lock).st_uid)
    return Home(path, lock)


def _remove_if_stale(path: str, owner: int) -> None:
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return  # another user's, not a folder, or just removed
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(folder).st_uid == owner:
            shutil.rmtree(path)
    except BlockingIOError:
        pass  # in use
    finally:
        os.close(folder)
