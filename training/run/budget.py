"""Track a run's budget: minutes, GPU hours and US dollars over all its attempts.

The totals are kept in ``spent.json`` in the run's folder and updated several times per step, so that
killed attempts count too.
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
from environment.files import write_atomically
from training.config import BudgetConfig
from training.loop.judging import JUDGE_COST
from training.run.run_log import Record

Budget = Literal["minutes", "cost_usd", "gpu_hours"]
BUDGETS: tuple[Budget, ...] = ("minutes", "gpu_hours", "cost_usd")
_FILE = "spent.json"
_UNITS = {"minutes": "minutes", "cost_usd": "US dollars", "gpu_hours": "GPU hours"}


class UnknownPrice(UserError):
    """There is a budget in dollars, but no price."""


def check_prices(budget: BudgetConfig, backend: BackendConfig, gpus: int) -> None:
    """
    Raises:
        UnknownPrice: there is a budget in dollars, but a price that it depends on is not set.
    """
    if budget.cost_usd is None:
        return
    required = {
        "gpu_usd_per_hour": gpus > 0 or backend.kind == "local",
        "usd_per_million_tokens": backend.kind in ("serverless", "tinker"),
    }
    for key, is_required in required.items():
        if is_required and getattr(budget, key) is None:
            raise UnknownPrice(
                f"training.budget.cost_usd: backend {backend.kind} costs money; set "
                f"training.budget.{key} (0 if it costs you nothing)"
            )


class Spent(StrictModel):
    """Totals of a run. ``tokens`` are prompt and completion tokens of rollouts."""

    minutes: float = Field(0.0, ge=0)
    tokens: int = Field(0, ge=0)
    judge_usd: float = Field(0.0, ge=0)


def charge(folder: Path, judge_usd: float) -> None:
    """Charge a run for hosted models used before it started. No effect once it has started."""
    path = folder / _FILE
    if judge_usd and not path.exists():
        write_atomically(path, Spent(judge_usd=judge_usd).model_dump_json())


class Meter:
    """Tracks what a run uses, from construction on.

    Args:
        gpus: number of GPUs that the run holds.
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
        """Count the time since the last call."""
        now = self._clock()
        minutes = self._spent.minutes + (now - self._counted_until) / 60
        self._counted_until = now
        self._keep({"minutes": minutes})

    def add_rollouts(self, record: Record) -> None:
        """Count the tokens of a step's rollouts and the cost of its judge."""
        tokens = record["data/step_prompt_tokens"] + record["data/step_completion_tokens"]
        judge = self._spent.judge_usd + record.get(JUDGE_COST, 0.0)
        self._keep({"tokens": self._spent.tokens + tokens, "judge_usd": judge})
        self.tick()

    def totals(self) -> Record:
        """Amounts used so far, as metrics of a step's record."""
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
        """The first budget that is used up, if any."""
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
    """Explain why a run ended, and what it used."""
    used = ", ".join(f"{spent[name]:.3g} {_UNITS[name]}" for name in BUDGETS)
    if stopped_by in BUDGETS:
        limit = getattr(budget, stopped_by)
        ended = f"its budget of {limit:g} {_UNITS[stopped_by]} (training.budget.{stopped_by})"
        ended += " was used up; its last checkpoint is kept, and a larger budget continues it"
    elif stopped_by == "judge_budget":
        ended = "the budget of its judge was used up (judge.max_cost_usd)"
    elif stopped_by == "converged":
        ended = "it converged: all groups had equal rewards"
    else:
        ended = "it completed all its steps"
    return f"The run ended because {ended}. It used {used}."
