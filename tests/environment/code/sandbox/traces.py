"""What a sandbox could leave behind: processes, descriptors, folders."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path


def processes_naming(text: str) -> list[int]:
    """Processes with this text in their command line; a cell has its zygote's."""
    pids = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                if text.encode() in (folder / "cmdline").read_bytes():
                    pids.append(int(folder.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
    return pids


def children() -> list[int]:
    pids: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        try:
            pids += map(int, (task / "children").read_text().split())
        except FileNotFoundError:
            continue  # a thread that has just ended
    return sorted(pids)


def descriptors() -> dict[str, str]:
    """This process's open descriptors, and what they are of."""
    targets = {}
    for link in Path("/proc/self/fd").iterdir():
        try:
            targets[link.name] = str(link.readlink())
        except FileNotFoundError:
            continue  # the one that lists them
    return targets


def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for something that another process does; fail if it does not."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
