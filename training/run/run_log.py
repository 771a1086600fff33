"""The log of a run's steps, which survives a kill at any moment.

A step is complete when its checkpoint is. Its record is therefore written before training
(``pending.json``) and completed after it. On resume, the log is reconciled with the newest checkpoint:
records of incomplete steps are dropped, and a record that is missing from the log is recovered from
``pending.json``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from environment.files import write_atomically

Record = dict[str, Any]
STEP = "training_step"


def first_and_last(records: Sequence[Record], key: str) -> tuple[float | None, float | None]:
    """The means over the first and the last tenth of the steps; single steps have too few scenarios to
    be compared."""
    if not records:
        return None, None
    tenth = max(1, len(records) // 10)
    return fmean(r[key] for r in records[:tenth]), fmean(r[key] for r in records[-tenth:])


class RunLog:
    """``metrics.jsonl`` of a run folder: one JSON object per step, without gaps or duplicates."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "metrics.jsonl"
        self._pending = folder / "pending.json"

    def records(self) -> list[Record]:
        """All complete records, without a half-written last line."""
        if not self.path.exists():
            return []
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def begin(self, record: Record) -> None:
        """Write a step's record before its weights change."""
        write_atomically(self._pending, json.dumps(record))

    def commit(self, record: Record) -> None:
        """Append the completed record of a step."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._pending.unlink(missing_ok=True)

    def recover(self, step: int, extra: Record | None = None) -> list[Record]:
        """Make the log end at ``step``, that of the newest checkpoint. Returns its records.

        Args:
            extra: the trainer's own metrics of that checkpoint.

        Raises:
            ValueError: an earlier record is missing, so log and checkpoint are not of one run.
        """
        kept = [record for record in self.records() if record[STEP] <= step]
        logged = {record[STEP] for record in kept}
        if step and step not in logged and self._pending.exists():
            pending = json.loads(self._pending.read_text(encoding="utf-8"))
            if pending[STEP] == step:
                kept.append(pending | (extra or {}))
                logged.add(step)
        missing = sorted(set(range(1, step + 1)) - logged)
        if missing:
            raise ValueError(
                f"{self.path} has no record of step {missing[0]}, but there is a checkpoint of "
                f"step {step}: the folder mixes two runs; use another --name"
            )
        write_atomically(self.path, "".join(json.dumps(record) + "\n" for record in kept))
        self._pending.unlink(missing_ok=True)
        return kept
