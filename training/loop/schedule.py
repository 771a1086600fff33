"""Which scenarios a step trains on: a function of the seed and the step, and of nothing else."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def scenarios_of_step(scenarios: Sequence[T], step: int, per_step: int, seed: int) -> list[T]:
    """The ``per_step`` scenarios of a step (counted from 0): each epoch goes through all scenarios
    in an order of its own, and a step may reach from one epoch into the next.

    Raises:
        ValueError: there are no scenarios.
    """
    if not scenarios:
        raise ValueError("there is no scenario to train on")
    chosen: list[T] = []
    for position in range(step * per_step, (step + 1) * per_step):
        epoch, index = divmod(position, len(scenarios))
        order = list(range(len(scenarios)))
        random.Random(f"{seed} epoch {epoch}").shuffle(order)
        chosen.append(scenarios[order[index]])
    return chosen
