"""The layout of the data folder. Names chosen by callers never become part of a path."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

_LOW_SPACE = 1 << 20


@dataclass(frozen=True, slots=True)
class Folders:
    """The data folder of a training service."""

    root: Path

    @property
    def database(self) -> Path:
        return self.root / "service.db"

    @property
    def service_lock(self) -> Path:
        """Held by the training service that uses this folder."""
        return self.root / "service.lock"

    @property
    def environments(self) -> Path:
        """Artifacts of environments, shared by all jobs."""
        return self.root / "environments"

    def run(self, run: str) -> Path:
        """Everything about one model: its data, its training, its worker's log."""
        return self.root / "runs" / run

    def training(self, run: str) -> Path:
        """The training run, continued by every job of the model."""
        return self.run(run) / "training"

    def job(self, run: str, job: str) -> Path:
        """The results of one job: adapter, report, evaluation."""
        return self.run(run) / "jobs" / job

    def log(self, run: str) -> Path:
        return self.run(run) / "worker.log"

    def lock(self, run: str) -> Path:
        """Held by the worker of a run. Outside the run's folder, which may be deleted meanwhile."""
        return self.root / "runs" / f"{run}.lock"


def lacks_room(error: Exception, folder: Path) -> bool:
    """Whether a full disk may have caused the error. Libraries raise their own errors for that, so
    the free space counts too."""
    if isinstance(error, sqlite3.OperationalError):
        return True
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return True
    return shutil.disk_usage(folder).free < _LOW_SPACE
