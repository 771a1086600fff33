"""What a sandbox could leave behind: processes, descriptors, folders."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path


def processes_naming(text: str) -> list[int]:
    """Processes with this text in their command line; a cell has its zygote's."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                if text.encode() in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def children() -> list[int]:
    found: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        try:
            found += map(int, (task / "children").read_text().split())
        except FileNotFoundError:
            continue  # a thread that has just ended
    return sorted(found)


def descriptors() -> dict[str, str]:
    """This process's open descriptors, and what they are of."""
    found = {}
    for link in Path("/proc/self/fd").iterdir():
        try:
            found[link.name] = str(link.readlink())
        except FileNotFoundError:
            continue  # the one that lists them
    return found


def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for something that another process does; fail if it does not."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
