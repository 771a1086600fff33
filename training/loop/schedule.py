"""The scenarios of a step, as a pure function of seed and step."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def scenarios_of_step(scenarios: Sequence[T], step: int, per_step: int, seed: int) -> list[T]:
    """The ``per_step`` scenarios of a step, counted from 0. Each epoch shuffles all scenarios anew, and a
    step may span two epochs.

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
