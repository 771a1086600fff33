"""Send metrics to Weights & Biases if WANDB_API_KEY is set, or keep them locally for a later sync with
WANDB_MODE=offline."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from environment.files import write_atomically
from training.run.run_log import STEP, Record


class Tracker:
    """Forwards the numbers of each step's record. Does nothing unless W&B is enabled."""

    def __init__(self, project: str, name: str, settings: dict[str, Any], folder: Path) -> None:
        self._run: Any = None
        offline = os.environ.get("WANDB_MODE") == "offline"
        if offline or os.environ.get("WANDB_API_KEY"):
            import wandb

            self._run = wandb.init(
                project=project,
                name=name,
                id=name,
                resume="allow",
                config=settings,
                dir=str(folder),
                reinit="return_previous",
            )
            self._run.define_metric("*", step_metric=STEP)
            self._sent_path = folder / "wandb" / "sent_step"
            self._sent = int(self._sent_path.read_text()) if self._sent_path.exists() else 0

    def log(self, record: Record) -> None:
        """Skips steps that an earlier attempt has sent."""
        if self._run is not None and record[STEP] > self._sent:
            numbers = {k: v for k, v in record.items() if isinstance(v, (int, float))}
            dropped = {f"data/dropped/{k}": v for k, v in record.get("data/dropped", {}).items()}
            self._run.log(numbers | dropped)
            self._sent = record[STEP]
            write_atomically(self._sent_path, str(self._sent))

    def close(self) -> None:
        if self._run is not None:
            self._run.finish()
