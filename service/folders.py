"""What lies where in the data folder. No name that a caller chose is part of any of these paths."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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

    def log(self, run: str) -> Path:
        return self.run(run) / "worker.log"

    def lock(self, run: str) -> Path:
        """Held by the worker of a run; beside its folder, which may be deleted meanwhile."""
        return self.root / "runs" / f"{run}.lock"
