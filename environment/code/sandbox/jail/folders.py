"""The zygote's folder for its cells' folders, and what one that was killed has left behind.

The folder is locked as long as its zygote lives; the kernel lets go of the lock however that ends.
So a folder of ours without a lock is litter, and the next zygote removes it.
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
    """A new folder in ``parent``; and those that killed zygotes of this user left are removed."""
    while True:
        path = tempfile.mkdtemp(prefix=PREFIX, dir=parent)
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.isdir(path):
            break
        os.close(lock)  # another zygote swept it away before it was locked
    for name in os.listdir(parent):
        if name.startswith(PREFIX):
            _remove_if_litter(f"{parent}/{name}", os.fstat(lock).st_uid)
    return Home(path, lock)


def _remove_if_litter(path: str, owner: int) -> None:
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return  # another user's, or no folder, or just removed
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(folder).st_uid == owner:
            shutil.rmtree(path)
    except BlockingIOError:
        pass  # in use
    finally:
        os.close(folder)
