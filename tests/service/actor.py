"""Stands in a worker's place and does nothing: holds the lock of a run until it is killed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.locks import holder, holding


@contextmanager
def acting(lock: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.service.actor", str(lock)], start_new_session=True
    )
    try:
        while holder(lock) != process.pid:
            assert process.poll() is None
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    with holding(Path(sys.argv[1]), 5):
        time.sleep(600)
