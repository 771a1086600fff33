"""Show progress: a bar on a terminal, a log line every few seconds elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from statistics import fmean
from typing import Any

from tqdm import tqdm

from training.run.run_log import STEP, Record

log = logging.getLogger(__name__)

_LINE_EVERY_S = 15.0
_WINDOW = 10


class Progress:
    """Progress over ``total`` units, such as steps or rollouts."""

    def __init__(self, total: int, name: str, unit: str) -> None:
        self._total, self._name, self._unit = total, name, unit
        self._done = self._first = 0
        self._started = self._last_line = time.monotonic()
        self._bar: Any = None
        if sys.stderr.isatty():
            self._bar = tqdm(total=total, desc=name, unit=unit, file=sys.stderr, leave=True)

    def start_at(self, done: int) -> None:
        """Count the work of earlier attempts, but not in the speed."""
        self._done = self._first = done
        if self._bar is not None:
            self._bar.n = self._bar.initial = done
            self._bar.refresh()

    def advance(self, shown: dict[str, str], n: int = 1) -> None:
        self._done += n
        if self._bar is not None:
            self._bar.set_postfix(shown, refresh=False)
            self._bar.update(n)
            return
        now = time.monotonic()
        if now - self._last_line >= _LINE_EVERY_S or self._done >= self._total:
            self._last_line = now
            speed = (self._done - self._first) / max(1e-9, now - self._started)
            left = (self._total - self._done) / speed if speed else 0
            values = ", ".join(f"{name} {value}" for name, value in shown.items())
            progress = f"{self._name}: {self._unit} {self._done} of {self._total}"
            log.info("%s, %s, %d s left", progress, values, left)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class TrainingProgress:
    """Progress over the records of training steps."""

    def __init__(self, max_steps: int, resumed_at: int) -> None:
        self._progress = Progress(max_steps, "train", "step")
        self._progress.start_at(resumed_at)
        self._resumed_at = resumed_at
        self._recent: deque[Record] = deque(maxlen=_WINDOW)

    def on_step(self, record: Record) -> None:
        if record[STEP] <= self._resumed_at:
            return
        self._recent.append(record)
        tokens = sum(r["data/step_completion_tokens"] for r in self._recent)
        seconds = sum(r["time/step_wall_s"] for r in self._recent)
        self._progress.advance(
            {
                "reward": f"{fmean(r['train/reward'] for r in self._recent):.2f}",
                "success": f"{fmean(r['train/success'] for r in self._recent):.2f}",
                "tokens/s": f"{tokens / max(1e-9, seconds):.0f}",
            }
        )

    def close(self) -> None:
        self._progress.close()
