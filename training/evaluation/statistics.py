"""Proportions, means and paired differences over scenarios, with confidence intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist, fmean

import numpy as np

_RESAMPLES, _AT_ONCE = 10_000, 500


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
        clusters: shared by scenarios that are not independent of each other, such as questions about
            the same mail; whole clusters are resampled.

    Raises:
        ValueError: the sequences differ in length or are empty.
    """
    if not len(new) == len(old) == len(clusters) or not new:
        raise ValueError("a paired comparison needs the same scenarios on both sides")
    differences = np.asarray(new, dtype=float) - np.asarray(old, dtype=float)
    return bootstrap_means(differences[:, None], clusters, confidence)[0]


def bootstrap_means(
    values: np.ndarray, clusters: Sequence[str], confidence: float = 0.95
) -> list[Interval]:
    """The mean of each column with a percentile bootstrap interval that resamples whole clusters.

    Args:
        values: (rows, columns); NaN is missing, but no column is all NaN.
        clusters: one per row.
    """
    present = ~np.isnan(values)
    sums, sizes = (_by_cluster(part, clusters) for part in (np.where(present, values, 0), present))
    count = len(sums)
    rng = np.random.default_rng(0)
    resampled = []
    for _ in range(_RESAMPLES // _AT_ONCE):
        drawn = rng.integers(count, size=(_AT_ONCE, count))
        drawn += np.arange(_AT_ONCE)[:, None] * count
        times = np.bincount(drawn.ravel(), minlength=_AT_ONCE * count).reshape(_AT_ONCE, count)
        total, size = times @ sums, times @ sizes
        resampled.append(np.divide(total, size, out=np.full_like(total, np.nan), where=size > 0))
    tail = 100 * (1 - confidence) / 2
    ends = np.nanpercentile(np.concatenate(resampled), [tail, 100 - tail], axis=0)
    column_means = np.nanmean(values, axis=0)
    return [Interval(*map(float, column)) for column in zip(column_means, *ends, strict=True)]


def _by_cluster(values: np.ndarray, clusters: Sequence[str]) -> np.ndarray:
    """Sums over the rows of each cluster, (clusters, columns)."""
    names, cluster = np.unique(np.asarray(clusters), return_inverse=True)
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, cluster, values)
    return sums


def means(records: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each metric over the records that have it, by name."""
    values: dict[str, list[float]] = {}
    for metrics in records:
        for name, value in metrics.items():
            values.setdefault(name, []).append(value)
    return {name: fmean(values[name]) for name in sorted(values)}


def proportion(successes: Sequence[bool], confidence: float = 0.95) -> Interval:
    """A success rate with Wilson's interval (Wilson, 1927)."""
    n = len(successes)
    return _wilson(sum(successes) / n, n, confidence)


def clustered_proportion(
    shares: Sequence[float], clusters: Sequence[str], trials: int, confidence: float = 0.95
) -> Interval:
    """The mean of shares that are themselves estimates, such as each scenario's success rate.

    The interval is Wilson's for the effective sample size, the number of trials divided by the design
    effect (Kish, 1965; compared with others in Franco, Little, Louis and Slud, 2019), taken from the
    variance between clusters. Near 0 and 1, where untrained and well-trained policies are, a bootstrap
    interval is too narrow; for equal shares it has no width at all.

    Args:
        shares: between 0 and 1.
        clusters: shared by shares that are not independent of each other.
        trials: total behind all shares; an upper bound of the effective sample size.
    """
    values = np.asarray(shares, dtype=float)
    mean = float(values.mean())
    deviations = _by_cluster((values - mean)[:, None], clusters)
    variance = float((deviations**2).sum()) / len(values) ** 2
    if mean in (0.0, 1.0):
        effective: float = len(
            deviations
        )  # equal shares are no evidence that trials are independent
    elif mean * (1 - mean) >= trials * variance:
        effective = trials
    else:
        effective = mean * (1 - mean) / variance
    return _wilson(mean, effective, confidence)


def _wilson(share: float, n: float, confidence: float) -> Interval:
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * ((share * (1 - share) + z * z / (4 * n)) / n) ** 0.5 / (1 + z * z / n)
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


def cohens_kappa(one: Sequence[bool], other: Sequence[bool]) -> float | None:
    """Agreement of two raters beyond chance: 1 is perfect, 0 is chance (Cohen, 1960). None if there are
    no ratings, or chance agreement is certain."""
    if not one:
        return None
    observed = fmean(a == b for a, b in zip(one, other, strict=True))
    yes, also = fmean(one), fmean(other)
    expected = yes * also + (1 - yes) * (1 - also)
    return None if expected == 1 else (observed - expected) / (1 - expected)
