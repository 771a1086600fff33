from __future__ import annotations

import subprocess
import sys

import pytest

from training.loop.schedule import scenarios_of_step


def epoch(count: int, number: int, per_step: int, seed: int = 0) -> list[int]:
    """The scenarios that the steps of an epoch visit, where steps and epochs end together."""
    steps = count // per_step
    return [
        scenario
        for step in range(number * steps, (number + 1) * steps)
        for scenario in scenarios_of_step(range(count), step, per_step, seed)
    ]


@pytest.mark.parametrize(("count", "per_step"), [(1, 1), (6, 2), (12, 4), (30, 5)])
@pytest.mark.parametrize("number", [0, 1, 7])
def test_each_epoch_visits_every_scenario_once(count: int, per_step: int, number: int) -> None:
    assert sorted(epoch(count, number, per_step)) == list(range(count))


def test_epochs_have_orders_of_their_own() -> None:
    assert len({tuple(epoch(30, number, 5)) for number in range(5)}) == 5


def test_seeds_have_orders_of_their_own() -> None:
    assert len({tuple(epoch(30, 0, 5, seed)) for seed in range(5)}) == 5


@pytest.mark.parametrize("per_step", [1, 2, 3, 4, 7, 10, 23])
def test_a_step_reaches_from_one_epoch_into_the_next(per_step: int) -> None:
    one_by_one = [scenarios_of_step(range(10), position, 1, 3)[0] for position in range(70)]
    steps = 70 // per_step
    together = [s for step in range(steps) for s in scenarios_of_step(range(10), step, per_step, 3)]
    assert together == one_by_one[: steps * per_step]


def test_fewer_scenarios_than_a_step_takes_are_repeated() -> None:
    chosen = scenarios_of_step(["a", "b", "c"], 0, 8, 0)
    assert len(chosen) == 8
    assert sorted(chosen[:3]) == sorted(chosen[3:6]) == ["a", "b", "c"]


def test_another_process_chooses_the_same() -> None:
    code = "from training.loop.schedule import scenarios_of_step as s; print(s(list('abcdefgh'), 5, 3, 11))"
    other = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "7", "PYTHONPATH": ":".join(sys.path)},
    )
    assert other.stdout.strip() == str(scenarios_of_step(list("abcdefgh"), 5, 3, 11))


def test_no_scenario_is_an_error() -> None:
    with pytest.raises(ValueError, match="no scenario to train on"):
        scenarios_of_step([], 0, 2, 0)
