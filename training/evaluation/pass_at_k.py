"""pass@k: the probability that at least one of k sampled rollouts solves a scenario."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from pydantic import BaseModel

from training.evaluation.statistics import clustered_proportion


class PassAtK(BaseModel):
    """
    Args:
        mean, low, high: mean over scenarios and its confidence interval.
        scenarios: those with at least ``k`` rollouts that count.
        left_out: those with fewer, which are excluded.
    """

    k: int
    mean: float
    low: float
    high: float
    scenarios: int
    left_out: int


@dataclass(frozen=True, slots=True)
class Tally:
    """How many of a scenario's counted rollouts solved it. Scenarios that are not independent of each
    other share a ``cluster``."""

    solved: int
    counted: int
    cluster: str


def chance(n: int, c: int, k: int) -> float:
    """The unbiased estimate of pass@k from ``n`` rollouts with ``c`` solved,
    ``1 - C(n-c, k) / C(n, k)`` (Chen et al., 2021, arXiv:2107.03374), as a product of ratios.

    Raises:
        ValueError: not ``0 <= c <= n`` and ``1 <= k <= n``.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass@{k} is undefined for {c} of {n} rollouts")
    return 1 - prod((n - c - i) / (n - i) for i in range(k))


def ks(samples: int) -> list[int]:
    """The values of ``k`` to report: powers of two up to ``samples``, and ``samples``."""
    return sorted({2**i for i in range(samples.bit_length())} | {samples})


def pass_at_k(tallies: Mapping[str, Tally], samples: int, confidence: float) -> list[PassAtK]:
    """pass@k for every ``k`` that some scenario has enough counted rollouts for.

    Args:
        tallies: by scenario.
        samples: rollouts per scenario, counted or not.
    """
    results = []
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
        results.append(
            PassAtK(
                k=k, **mean.as_dict(), scenarios=len(enough), left_out=len(tallies) - len(enough)
            )
        )
    return results
