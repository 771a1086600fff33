"""What a run leaves on disk step by step, such that a kill at any moment loses nothing.

A checkpoint is what makes a step done. The step's record is therefore written *before* training
(``pending.json``) and completed after it; on resume the log is brought in line with the newest
checkpoint: records of steps that were not finished are dropped, and the record of a step whose
checkpoint made it but whose log line did not is taken from ``pending.json``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from training.run.files import write_atomically

Record = dict[str, Any]
STEP = "training_step"


def first_and_last(records: Sequence[Record], key: str) -> tuple[float | None, float | None]:
    """The mean over the first tenth of the steps and over the last one: a single step has so few
    scenarios that it says little."""
    if not records:
        return None, None
    tenth = max(1, len(records) // 10)
    return fmean(r[key] for r in records[:tenth]), fmean(r[key] for r in records[-tenth:])


class RunLog:
    """``metrics.jsonl`` of a run folder: one JSON object a step, without gap or duplicate."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "metrics.jsonl"
        self._pending = folder / "pending.json"

    def records(self) -> list[Record]:
        """All complete records; a half-written last line does not count."""
        if not self.path.exists():
            return []
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def begin(self, record: Record) -> None:
        """Note what is known of a step before its weights change."""
        write_atomically(self._pending, json.dumps(record))

    def commit(self, record: Record) -> None:
        """Append the finished record of a step."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._pending.unlink(missing_ok=True)

    def recover(self, step: int, extra: Record | None = None) -> list[Record]:
        """Make the log end at ``step``, the newest checkpoint's.

        Args:
            extra: what the trainer itself recorded with that checkpoint.

        Returns:
            The records of the steps up to ``step``.

        Raises:
            ValueError: the log lacks the record of an earlier step: it is not this checkpoint's.
        """
        kept = [record for record in self.records() if record[STEP] <= step]
        have = {record[STEP] for record in kept}
        if step and step not in have and self._pending.exists():
            pending = json.loads(self._pending.read_text(encoding="utf-8"))
            if pending[STEP] == step:
                kept.append(pending | (extra or {}))
                have.add(step)
        missing = sorted(set(range(1, step + 1)) - have)
        if missing:
            raise ValueError(
                f"{self.path} has no record of step {missing[0]}, but there is a checkpoint of "
                f"step {step}: the folder mixes two runs; take another --name"
            )
        write_atomically(self.path, "".join(json.dumps(record) + "\n" for record in kept))
        self._pending.unlink(missing_ok=True)
        return kept
