"""Rank correlation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Kendall's tau-b (Kendall, 1945): 1 for the same order, -1 for the reverse, with ties counting
    as neither. None if all values of a sequence are equal."""
    agreed = ordered_by_one = ordered_by_other = 0
    for (a, x), (b, y) in combinations(zip(one, other, strict=True), 2):
        by_one, by_other = (a > b) - (a < b), (x > y) - (x < y)
        agreed += by_one * by_other
        ordered_by_one += by_one != 0
        ordered_by_other += by_other != 0
    if not ordered_by_one or not ordered_by_other:
        return None
    return agreed / (ordered_by_one * ordered_by_other) ** 0.5
