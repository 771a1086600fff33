from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.judge import rank_correlation

numbers = st.lists(st.integers(0, 5).map(float), min_size=2, max_size=8)


@pytest.mark.parametrize(
    ("one", "other", "tau"),
    [
        ([1, 2, 3], [0.1, 0.2, 0.9], 1.0),
        ([1, 2, 3], [3, 2, 1], -1.0),
        ([1, 2, 3, 4], [1, 3, 2, 4], 4 / 6),
        ([1, 1, 2], [1, 2, 3], 2 / 6**0.5),
        ([1, 1, 1], [1, 2, 3], None),
        ([1, 2], [5, 5], None),
        ([1], [1], None),
        ([], [], None),
    ],
)
def test_known_cases(one: list[float], other: list[float], tau: float | None) -> None:
    assert rank_correlation(one, other) == (None if tau is None else pytest.approx(tau))


@given(numbers, st.randoms(use_true_random=False))
def test_only_the_order_counts(one: list[float], rng: random.Random) -> None:
    other = rng.sample(one, len(one))
    tau = rank_correlation(one, other)
    assert tau == rank_correlation([x**3 - 7 for x in one], other)
    assert tau == rank_correlation(other, one)
    if tau is not None:
        assert -1.0001 <= tau <= 1.0001
        assert rank_correlation([-x for x in one], other) == pytest.approx(-tau)


@given(numbers)
def test_the_same_order_is_1_unless_there_is_none(one: list[float]) -> None:
    level = all(a == b for a, b in pairwise(one))
    assert rank_correlation(one, one) == (None if level else pytest.approx(1))
