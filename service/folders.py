"""What lies where in the data folder. No name that a caller chose is part of any of these paths."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

_LITTLE_ROOM = 1 << 20


@dataclass(frozen=True, slots=True)
class Folders:
    """The data folder of a service."""

    root: Path

    @property
    def database(self) -> Path:
        return self.root / "service.db"

    @property
    def service_lock(self) -> Path:
        """Held by the one service that works on this folder."""
        return self.root / "service.lock"

    @property
    def environments(self) -> Path:
        """What environments need, made once for all jobs."""
        return self.root / "environments"

    def run(self, run: str) -> Path:
        """Everything of one model: data it came with, training, the worker's log."""
        return self.root / "runs" / run

    def training(self, run: str) -> Path:
        """The run's folder of ``training.runner``, which all jobs of a model continue."""
        return self.run(run) / "training"

    def job(self, run: str, job: str) -> Path:
        """What one job left: adapter, report, evaluation."""
        return self.run(run) / "jobs" / job

    def log(self, run: str) -> Path:
        return self.run(run) / "worker.log"

    def lock(self, run: str) -> Path:
        """Held by the worker of a run; beside its folder, which may be deleted meanwhile."""
        return self.root / "runs" / f"{run}.lock"


def lacks_room(error: Exception, folder: Path) -> bool:
    """Whether an error is that something could not be written, which may pass. Libraries have errors
    of their own for it, so the disk is looked at too."""
    if isinstance(error, sqlite3.OperationalError):
        return True
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return True
    return shutil.disk_usage(folder).free < _LITTLE_ROOM
