from __future__ import annotations

from itertools import combinations
from statistics import fmean

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from training.evaluation.pass_at_k import Tally, chance, ks, pass_at_k

# How often a scenario was run, how often solved, and k.
RUNS = st.integers(1, 9).flatmap(
    lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))
)


@given(RUNS)
@example((9, 0, 9))
@example((9, 9, 1))
def test_the_estimate_is_the_share_of_all_choices_of_k_rollouts(run: tuple[int, int, int]) -> None:
    n, c, k = run
    outcomes = [index < c for index in range(n)]
    assert chance(n, c, k) == pytest.approx(fmean(map(any, combinations(outcomes, k))), abs=1e-12)


@given(st.integers(1, 8), st.data())
def test_the_estimate_has_no_bias(n: int, data: st.DataObject) -> None:
    """Its expectation over all that a policy may do is the chance itself."""
    k, p = data.draw(st.integers(1, n)), data.draw(st.floats(0, 1))
    outcomes = [[bool(bits >> index & 1) for index in range(n)] for bits in range(2**n)]
    expected = sum(
        p ** sum(one) * (1 - p) ** (n - sum(one)) * chance(n, sum(one), k) for one in outcomes
    )
    assert expected == pytest.approx(1 - (1 - p) ** k, abs=1e-9)


def test_of_thousands_of_rollouts_it_is_still_exact() -> None:
    # 1 - C(9999, 100) / C(10000, 100) = 100 / 10000; the factorials overflow a float.
    assert chance(10_000, 1, 100) == pytest.approx(0.01, rel=1e-9)
    assert chance(10_000, 9_901, 100) == 1
    assert chance(10_000, 0, 10_000) == 0


@pytest.mark.parametrize(("n", "c", "k"), [(3, 4, 1), (3, -1, 1), (3, 1, 4), (3, 1, 0), (0, 0, 1)])
def test_what_cannot_be_estimated_is_refused(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match=f"pass@{k} is undefined for {c} of {n}"):
        chance(n, c, k)


@pytest.mark.parametrize(
    ("samples", "expected"),
    [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (8, [1, 2, 4, 8]), (10, [1, 2, 4, 8, 10])],
)
def test_k_are_the_powers_of_two_and_all(samples: int, expected: list[int]) -> None:
    assert ks(samples) == expected


def test_it_is_a_mean_over_scenarios_each_with_its_own_number_of_rollouts() -> None:
    tallies = {"a": Tally(1, 4, "a"), "b": Tally(0, 2, "b"), "c": Tally(1, 1, "c")}
    tallies["only errors"] = Tally(0, 0, "")
    one, two, four = pass_at_k(tallies, 4, 0.95)
    assert one.mean == pytest.approx((1 / 4 + 0 + 1) / 3)
    assert two.mean == pytest.approx((1 / 2 + 0) / 2)
    assert four.mean == 1
    assert [(f.scenarios, f.left_out) for f in (one, two, four)] == [(3, 1), (2, 2), (1, 3)]
    for estimate in (one, two, four):
        assert 0 <= estimate.low < estimate.mean <= estimate.high <= 1


def test_where_no_scenario_has_enough_rollouts_nothing_is_said() -> None:
    assert [f.k for f in pass_at_k({"a": Tally(1, 3, "a")}, 8, 0.95)] == [1, 2]
    assert pass_at_k({"a": Tally(0, 0, "a")}, 8, 0.95) == []


@pytest.mark.parametrize("k", [1, 2, 4])
def test_the_interval_covers_the_truth_about_as_often_as_it_says(k: int) -> None:
    rng = np.random.default_rng(5)
    # A policy that solves some scenarios nearly always and most of them hardly ever.
    many = rng.beta(0.2, 0.8, size=400_000)
    truth = float((1 - (1 - many) ** k).mean())
    covered = 0
    for _ in range(200):
        solved = rng.binomial(4, rng.beta(0.2, 0.8, size=80))
        tallies = {str(n): Tally(int(c), 4, str(n)) for n, c in enumerate(solved)}
        estimate = next(f for f in pass_at_k(tallies, 4, 0.95) if f.k == k)
        covered += estimate.low <= truth <= estimate.high
    assert 0.9 <= covered / 200 <= 0.99
