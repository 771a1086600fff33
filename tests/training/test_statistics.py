from __future__ import annotations

import random

import numpy as np
import pytest

from training.statistics import Interval, cohens_kappa, paired_difference, proportion


def each_its_own(count: int) -> list[str]:
    return [str(index) for index in range(count)]


@pytest.mark.parametrize("value", [0.0, 0.37, 1.0])
def test_equal_results_differ_by_nothing(value: float) -> None:
    assert paired_difference([value] * 9, [value] * 9, each_its_own(9)) == Interval(0, 0, 0)


@pytest.mark.parametrize(("new", "old", "gain"), [(1, 0, 1.0), (0, 1, -1.0), (0.75, 0.5, 0.25)])
def test_the_same_gain_everywhere_leaves_no_doubt(new: float, old: float, gain: float) -> None:
    assert paired_difference([new] * 5, [old] * 5, each_its_own(5)) == Interval(gain, gain, gain)


def test_the_mean_is_that_of_the_differences() -> None:
    new, old = [1, 0, 1, 1, 0, 1], [0, 0, 1, 0, 1, 0]
    assert paired_difference(new, old, each_its_own(6)).mean == pytest.approx(2 / 6)


def test_of_two_scenarios_the_interval_spans_both() -> None:
    # Resampled means are 0, 1/2 and 1 with shares of 1/4, 1/2 and 1/4.
    assert paired_difference([1, 0], [0, 0], ["a", "b"], 0.95) == Interval(0.5, 0, 1)
    assert paired_difference([1, 0], [0, 0], ["a", "b"], 0.4).low == 0.5


def test_the_interval_is_that_of_the_binomial() -> None:
    # 36 of 100 scenarios gained: the resampled mean is Binomial(100, 0.36) / 100. Its quantile of
    # 2.5 % is 27, that of 97.5 % 46, and 45 already holds 97.48 %.
    found = paired_difference([1] * 36 + [0] * 64, [0] * 100, each_its_own(100))
    assert found.low == pytest.approx(0.27, abs=0.011)
    assert found.high == pytest.approx(0.455, abs=0.011)


def test_the_other_way_round_the_interval_is_mirrored() -> None:
    rng = random.Random(1)
    new, old = ([rng.random() for _ in range(40)] for _ in range(2))
    one = paired_difference(new, old, each_its_own(40))
    other = paired_difference(old, new, each_its_own(40))
    assert (other.mean, other.low, other.high) == pytest.approx((-one.mean, -one.high, -one.low))


def test_clusters_widen_the_interval() -> None:
    new, old = [1] * 20 + [0] * 20, [0] * 40
    alone = paired_difference(new, old, each_its_own(40))
    in_fours = paired_difference(new, old, [str(index // 4) for index in range(40)])
    assert alone.mean == in_fours.mean == 0.5
    assert in_fours.high - in_fours.low > 1.7 * (alone.high - alone.low)


def test_clusters_may_differ_in_size_and_order() -> None:
    new, clusters = [1, 1, 1, 0, 0], ["a", "b", "a", "c", "a"]
    found = paired_difference(new, [0] * 5, clusters)
    order = [4, 2, 0, 3, 1]
    shuffled = paired_difference([new[i] for i in order], [0] * 5, [clusters[i] for i in order])
    assert found == shuffled
    assert (found.mean, found.low, found.high) == (0.6, 0, 1)


def test_more_confidence_is_a_wider_interval() -> None:
    new = [1] * 30 + [0] * 30
    widths = [
        found.high - found.low
        for confidence in (0.6, 0.8, 0.95, 0.99)
        for found in [paired_difference(new, [0] * 60, each_its_own(60), confidence)]
    ]
    assert widths == sorted(widths)
    assert len(set(widths)) == 4


def test_the_same_results_give_the_same_interval() -> None:
    rng = random.Random(2)
    new, old = ([rng.random() for _ in range(30)] for _ in range(2))
    assert len({paired_difference(new, old, each_its_own(30)) for _ in range(3)}) == 1


@pytest.mark.parametrize(
    ("new", "old", "clusters"),
    [([], [], []), ([1], [1, 0], ["a"]), ([1, 0], [1], ["a", "b"]), ([1, 0], [1, 0], ["a"])],
)
def test_only_the_same_scenarios_can_be_compared(
    new: list[float], old: list[float], clusters: list[str]
) -> None:
    with pytest.raises(ValueError, match="the same scenarios on both sides"):
        paired_difference(new, old, clusters)


@pytest.mark.parametrize("scenarios_per_cluster", [1, 3])
def test_the_interval_covers_the_truth_about_as_often_as_it_says(
    scenarios_per_cluster: int,
) -> None:
    rng = np.random.default_rng(3)
    clusters = [str(i) for i in range(60) for _ in range(scenarios_per_cluster)]
    covered = 0
    for _ in range(150):
        # Difference +1, 0 or -1, the same within a cluster: true mean 0.5 - 0.2.
        drawn = rng.choice([1, 0, -1], size=60, p=[0.5, 0.3, 0.2])
        differences = np.repeat(drawn, scenarios_per_cluster)
        found = paired_difference(differences.tolist(), [0] * len(differences), clusters)
        covered += found.low <= 0.3 <= found.high
    assert 0.88 <= covered / 150 <= 0.995


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # Newcombe, "Two-sided confidence intervals for the single proportion" (1998), table I,
        # method 3: the score interval without continuity correction.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilsons_interval_is_the_published_one(
    successes: int, trials: int, low: float, high: float
) -> None:
    found = proportion([True] * successes + [False] * (trials - successes))
    assert found.mean == successes / trials
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("successes", "trials"), [(0, 7), (3, 8), (29, 29)])
def test_wilsons_interval_of_the_failures_is_mirrored(successes: int, trials: int) -> None:
    outcomes = [index < successes for index in range(trials)]
    found, failures = proportion(outcomes), proportion([not outcome for outcome in outcomes])
    assert (failures.low, failures.high) == pytest.approx((1 - found.high, 1 - found.low))


def test_wilsons_interval_narrows_with_less_confidence() -> None:
    sure, less = (proportion([True, False] * 10, confidence) for confidence in (0.99, 0.8))
    assert sure.low < less.low < 0.5 < less.high < sure.high


def test_an_interval_is_plain_numbers() -> None:
    found = paired_difference([1, 0], [0, 0], ["a", "b"]).as_dict()
    assert {name: type(value) for name, value in found.items()} == dict.fromkeys(
        ("mean", "low", "high"), float
    )


@pytest.mark.parametrize(
    ("both", "one", "other", "neither", "kappa"),
    [
        (20, 5, 10, 15, 0.4),  # the example of most textbooks
        (5, 0, 0, 5, 1.0),
        (0, 5, 5, 0, -1.0),
        (25, 25, 25, 25, 0.0),
        (9, 0, 0, 0, None),
        (0, 0, 0, 0, None),
    ],
)
def test_cohens_kappa_is_the_published_one(
    both: int, one: int, other: int, neither: int, kappa: float | None
) -> None:
    pairs = [(True, True)] * both + [(True, False)] * one
    pairs += [(False, True)] * other + [(False, False)] * neither
    found = cohens_kappa([a for a, _ in pairs], [b for _, b in pairs])
    assert found == (None if kappa is None else pytest.approx(kappa))
