"""What a run has used of its budget: minutes, GPU hours and US dollars, over all its attempts.

The totals lie in ``spent.json`` in the run's folder and are brought up to date several times a
step, so that an attempt that was killed counts too, up to its last such moment.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import Field

from backends import BackendConfig
from environment.base import StrictModel, UserError
from training.config import BudgetConfig
from training.loop.judging import JUDGE_COST
from training.run.files import write_atomically
from training.run.run_log import Record

Budget = Literal["minutes", "cost_usd", "gpu_hours"]
BUDGETS: tuple[Budget, ...] = ("minutes", "gpu_hours", "cost_usd")
_FILE = "spent.json"
_UNITS = {"minutes": "minutes", "cost_usd": "US dollars", "gpu_hours": "GPU hours"}


class UnknownPrice(UserError):
    """A budget in dollars for something whose price was not given."""


def check_prices(budget: BudgetConfig, backend: BackendConfig, gpus: int) -> None:
    """
    Raises:
        UnknownPrice: dollars are to be counted, and a price is missing without which they would
            be counted too low.
    """
    if budget.cost_usd is None:
        return
    needed = {
        "gpu_usd_per_hour": gpus > 0 or backend.kind == "local",
        "usd_per_million_tokens": backend.kind in ("serverless", "tinker"),
    }
    for key, is_needed in needed.items():
        if is_needed and getattr(budget, key) is None:
            raise UnknownPrice(
                f"training.budget.cost_usd: backend {backend.kind} costs money; say how much with "
                f"training.budget.{key} (0 if it costs you nothing)"
            )


class Spent(StrictModel):
    """Totals of a run. ``tokens`` are those of rollouts, prompts and completions."""

    minutes: float = Field(0.0, ge=0)
    tokens: int = Field(0, ge=0)
    judge_usd: float = Field(0.0, ge=0)


def charge(folder: Path, judge_usd: float) -> None:
    """Count what was paid for hosted models before the run of this folder began. Once: nothing if
    anything was counted there already."""
    path = folder / _FILE
    if judge_usd and not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, Spent(judge_usd=judge_usd).model_dump_json())


class Meter:
    """Counts what a run uses, from the moment it is made.

    Args:
        gpus: how many GPUs the run holds.
        clock: seconds, for tests.
    """

    def __init__(
        self,
        config: BudgetConfig,
        gpus: int,
        folder: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config, self._gpus, self._clock = config, gpus, clock
        self._path = folder / _FILE
        self._spent = Spent()
        if self._path.exists():
            self._spent = Spent.model_validate(json.loads(self._path.read_text(encoding="utf-8")))
        self._counted_until = clock()

    def tick(self) -> None:
        """Count the time that has passed."""
        now = self._clock()
        minutes = self._spent.minutes + (now - self._counted_until) / 60
        self._counted_until = now
        self._keep({"minutes": minutes})

    def add_rollouts(self, record: Record) -> None:
        """Count the tokens of a step's rollouts, and what judging them cost."""
        tokens = record["data/step_prompt_tokens"] + record["data/step_completion_tokens"]
        judge = self._spent.judge_usd + record.get(JUDGE_COST, 0.0)
        self._keep({"tokens": self._spent.tokens + tokens, "judge_usd": judge})
        self.tick()

    def totals(self) -> Record:
        """For a step's record: what was used so far."""
        self.tick()
        return {f"budget/{name}": amount for name, amount in self.spent().items()}

    def spent(self) -> dict[Budget, float]:
        spent, config = self._spent, self._config
        gpu_hours = spent.minutes / 60 * self._gpus
        return {
            "minutes": spent.minutes,
            "gpu_hours": gpu_hours,
            "cost_usd": gpu_hours * (config.gpu_usd_per_hour or 0)
            + spent.tokens / 1e6 * (config.usd_per_million_tokens or 0)
            + spent.judge_usd,
        }

    def used_up(self) -> Budget | None:
        """The first budget of which nothing is left."""
        self.tick()
        spent = self.spent()
        for name in BUDGETS:
            limit = getattr(self._config, name)
            if limit is not None and spent[name] >= limit:
                return name
        return None

    def _keep(self, changes: dict[str, float]) -> None:
        self._spent = self._spent.model_copy(update=changes)
        write_atomically(self._path, self._spent.model_dump_json() + "\n")


def why_stopped(stopped_by: str, budget: BudgetConfig, spent: dict[Budget, float]) -> str:
    """In words why a run ended, and what it used."""
    used = ", ".join(f"{spent[name]:.3g} {_UNITS[name]}" for name in BUDGETS)
    if stopped_by in BUDGETS:
        limit = getattr(budget, stopped_by)
        ended = f"its budget of {limit:g} {_UNITS[stopped_by]} (training.budget.{stopped_by})"
        ended += " was used up; its last checkpoint is kept, and a larger budget continues it"
    elif stopped_by == "judge_budget":
        ended = "its judge has cost all it may (judge.max_cost_usd)"
    elif stopped_by == "converged":
        ended = "no group's rewards differed any more"
    else:
        ended = "it made all its steps"
    return f"The run ended because {ended}. It used {used}."
