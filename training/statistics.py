"""Intervals for differences between two agents on the same scenarios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist, fmean

import numpy as np

_RESAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its confidence interval."""

    mean: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def paired_difference(
    new: Sequence[float], old: Sequence[float], clusters: Sequence[str], confidence: float = 0.95
) -> Interval:
    """The mean of ``new - old`` with a percentile bootstrap interval (Efron, 1979).

    Args:
        clusters: the same for scenarios that are not independent of each other, such as questions
            about the same mail; whole clusters are resampled.

    Raises:
        ValueError: the sequences differ in length or are empty.
    """
    if not len(new) == len(old) == len(clusters) or not new:
        raise ValueError("a paired comparison needs the same scenarios on both sides")
    differences = np.asarray(new, dtype=float) - np.asarray(old, dtype=float)
    _, cluster = np.unique(np.asarray(clusters), return_inverse=True)
    sums = np.bincount(cluster, weights=differences)
    sizes = np.bincount(cluster)
    drawn = np.random.default_rng(0).integers(len(sums), size=(_RESAMPLES, len(sums)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(means, [tail, 100 - tail])
    return Interval(float(differences.mean()), float(low), float(high))


def means(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each metric over those that have it, by name."""
    values: dict[str, list[float]] = {}
    for metrics in found:
        for name, value in metrics.items():
            values.setdefault(name, []).append(value)
    return {name: fmean(values[name]) for name in sorted(values)}


def proportion(successes: Sequence[bool], confidence: float = 0.95) -> Interval:
    """A share of successes with Wilson's interval (Wilson, 1927)."""
    n, z = len(successes), NormalDist().inv_cdf(0.5 + confidence / 2)
    share = sum(successes) / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * ((share * (1 - share) + z * z / (4 * n)) / n) ** 0.5 / (1 + z * z / n)
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


def cohens_kappa(one: Sequence[bool], other: Sequence[bool]) -> float | None:
    """Agreement of two raters beyond what chance would give: 1 is perfect, 0 is chance (Cohen,
    1960). None if chance alone would agree always, or there is nothing to agree on."""
    if not one:
        return None
    observed = fmean(a == b for a, b in zip(one, other, strict=True))
    yes, also = fmean(one), fmean(other)
    expected = yes * also + (1 - yes) * (1 - also)
    return None if expected == 1 else (observed - expected) / (1 - expected)
