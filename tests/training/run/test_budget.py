from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends import BackendConfig
from training.config import BudgetConfig
from training.run.budget import BUDGETS, Meter, Spent, UnknownPrice, check_prices, why_stopped


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def step(prompt: int = 0, completion: int = 0, **more: Any) -> dict[str, Any]:
    return {"data/step_prompt_tokens": prompt, "data/step_completion_tokens": completion} | more


def meter(folder: Path, clock: Clock, gpus: int = 0, **config: Any) -> Meter:
    return Meter(BudgetConfig(**config), gpus, folder, clock)


def test_time_is_counted_in_minutes_and_in_hours_of_every_gpu(tmp_path: Path) -> None:
    clock = Clock()
    counted = meter(tmp_path, clock, gpus=4, gpu_usd_per_hour=3)
    clock.now += 1_800
    counted.tick()
    assert counted.spent() == {"minutes": 30, "gpu_hours": 2, "cost_usd": 6}


def test_what_a_vendor_and_the_judge_take_is_counted_in_dollars(tmp_path: Path) -> None:
    counted = meter(tmp_path, Clock(), usd_per_million_tokens=2)
    counted.add_rollouts(step(400_000, 100_000, **{"costs/judge_usd": 0.25}))
    counted.add_rollouts(step(0, 500_000, **{"costs/judge_usd": 0.75}))
    assert counted.spent()["cost_usd"] == pytest.approx(3.0)
    assert counted.totals()["budget/cost_usd"] == pytest.approx(3.0)


def test_a_step_without_a_judge_costs_no_judge(tmp_path: Path) -> None:
    counted = meter(tmp_path, Clock(), cost_usd=1)
    counted.add_rollouts(step(10, 10))
    assert counted.used_up() is None


@pytest.mark.parametrize(
    ("config", "seconds", "ended_by"),
    [
        ({"minutes": 1}, 59, None),
        ({"minutes": 1}, 60, "minutes"),
        ({"gpu_hours": 1}, 1_799, None),
        ({"gpu_hours": 1}, 1_800, "gpu_hours"),
        ({"cost_usd": 3, "gpu_usd_per_hour": 3}, 1_800, "cost_usd"),
        ({"cost_usd": 3, "gpu_usd_per_hour": 0}, 9e9, None),
        ({}, 9e9, None),
    ],
)
def test_a_budget_is_used_up_when_it_is_reached(
    tmp_path: Path, config: dict[str, Any], seconds: float, ended_by: str | None
) -> None:
    clock = Clock()
    counted = meter(tmp_path, clock, gpus=2, **config)
    clock.now += seconds
    assert counted.used_up() == ended_by


@settings(deadline=None)
@given(attempts=st.lists(st.floats(0, 1e5), min_size=1, max_size=6))
def test_what_earlier_attempts_used_counts(
    attempts: list[float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, clock = tmp_path_factory.mktemp("run"), Clock()
    for seconds in attempts:
        counted = meter(folder, clock)
        counted.add_rollouts(step(1, 1, **{"costs/judge_usd": 0.5}))
        clock.now += seconds
        counted.tick()
        clock.now += 1e6  # between two attempts nothing is used
    spent = meter(folder, clock).spent()
    assert spent["minutes"] == pytest.approx(sum(attempts) / 60)
    assert spent["cost_usd"] == pytest.approx(0.5 * len(attempts))
    assert Spent.model_validate_json((folder / "spent.json").read_text()).tokens == 2 * len(
        attempts
    )


@pytest.mark.parametrize(
    ("kind", "gpus", "given_", "missing"),
    [
        ("local", 1, {}, "gpu_usd_per_hour"),
        ("local", 0, {}, "gpu_usd_per_hour"),
        ("embedded", 1, {}, "gpu_usd_per_hour"),
        ("serverless", 0, {"gpu_usd_per_hour": 1}, "usd_per_million_tokens"),
        ("tinker", 0, {}, "usd_per_million_tokens"),
        ("embedded", 0, {}, None),
        ("local", 1, {"gpu_usd_per_hour": 0}, None),
        ("tinker", 0, {"usd_per_million_tokens": 3}, None),
    ],
)
def test_dollars_are_not_counted_without_the_price_of_what_is_used(
    kind: Any, gpus: int, given_: dict[str, float], missing: str | None
) -> None:
    backend = BackendConfig(kind=kind)
    check_prices(BudgetConfig(**given_), backend, gpus)
    if missing is None:
        check_prices(BudgetConfig(cost_usd=5, **given_), backend, gpus)
        return
    with pytest.raises(UnknownPrice, match=rf"training\.budget\.{missing}"):
        check_prices(BudgetConfig(cost_usd=5, **given_), backend, gpus)


@pytest.mark.parametrize("name", BUDGETS)
def test_the_report_names_the_budget_that_ended_the_run(name: Any) -> None:
    spent: Any = {"minutes": 90.0, "gpu_hours": 3.0, "cost_usd": 9.0}
    text = why_stopped(name, BudgetConfig(**{name: 2.5}), spent)
    assert "its budget of 2.5 " in text
    assert f"training.budget.{name}" in text
    assert "90 minutes, 3 GPU hours, 9 US dollars" in text


@pytest.mark.parametrize(
    ("stopped_by", "words"),
    [
        ("max_steps", "completed all its steps"),
        ("converged", "it converged"),
        ("judge_budget", "judge.max_cost_usd"),
    ],
)
def test_a_run_that_no_budget_ended_names_none(stopped_by: str, words: str) -> None:
    text = why_stopped(stopped_by, BudgetConfig(minutes=1), dict.fromkeys(BUDGETS, 0.0))
    assert words in text
    assert "training.budget" not in text
