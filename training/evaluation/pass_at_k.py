"""pass@k: the chance that at least one of k sampled rollouts solves a scenario."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from pydantic import BaseModel

from training.evaluation.statistics import clustered_proportion


class PassAtK(BaseModel):
    """
    Args:
        mean, low, high: over the scenarios, with the interval.
        scenarios: with at least ``k`` rollouts that count.
        left_out: scenarios with fewer, of which it cannot be said.
    """

    k: int
    mean: float
    low: float
    high: float
    scenarios: int
    left_out: int


@dataclass(frozen=True, slots=True)
class Tally:
    """How often a scenario was solved, of the rollouts that count.

    Args:
        cluster: the same for scenarios that are not independent of each other.
    """

    solved: int
    counted: int
    cluster: str


def chance(n: int, c: int, k: int) -> float:
    """The unbiased estimate of pass@k from ``n`` rollouts of which ``c`` solved it, that is
    ``1 - C(n-c, k) / C(n, k)`` (Chen et al., 2021, arXiv:2107.03374), as a product of ratios.

    Raises:
        ValueError: not ``0 <= c <= n`` and ``1 <= k <= n``.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass@{k} cannot be told from {c} of {n} rollouts")
    return 1 - prod((n - c - i) / (n - i) for i in range(k))


def ks(samples: int) -> list[int]:
    """The ``k`` worth showing of so many rollouts: the powers of two, and all."""
    return sorted({2**i for i in range(samples.bit_length())} | {samples})


def pass_at_k(tallies: Mapping[str, Tally], samples: int, confidence: float) -> list[PassAtK]:
    """For every ``k`` that any scenario has enough rollouts for.

    Args:
        tallies: by scenario.
        samples: rollouts of each scenario, those that do not count among them.
    """
    found = []
    for k in ks(samples):
        enough = [tally for tally in tallies.values() if tally.counted >= k]
        if not enough:
            break
        mean = clustered_proportion(
            [chance(tally.counted, tally.solved, k) for tally in enough],
            [tally.cluster for tally in enough],
            sum(tally.counted for tally in enough),
            confidence,
        )
        found.append(
            PassAtK(
                k=k, **mean.as_dict(), scenarios=len(enough), left_out=len(tallies) - len(enough)
            )
        )
    return found
