from __future__ import annotations

import random

import numpy as np
import pytest

from training.evaluation.statistics import (
    Interval,
    bootstrap_means,
    clustered_proportion,
    cohens_kappa,
    paired_difference,
    proportion,
)


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
    interval = paired_difference([1] * 36 + [0] * 64, [0] * 100, each_its_own(100))
    assert interval.low == pytest.approx(0.27, abs=0.011)
    assert interval.high == pytest.approx(0.455, abs=0.011)


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
    interval = paired_difference(new, [0] * 5, clusters)
    order = [4, 2, 0, 3, 1]
    shuffled = paired_difference([new[i] for i in order], [0] * 5, [clusters[i] for i in order])
    assert interval == shuffled
    assert (interval.mean, interval.low, interval.high) == (0.6, 0, 1)


def test_more_confidence_is_a_wider_interval() -> None:
    new = [1] * 30 + [0] * 30
    widths = [
        interval.high - interval.low
        for confidence in (0.6, 0.8, 0.95, 0.99)
        for interval in [paired_difference(new, [0] * 60, each_its_own(60), confidence)]
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
        interval = paired_difference(differences.tolist(), [0] * len(differences), clusters)
        covered += interval.low <= 0.3 <= interval.high
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
    interval = proportion([True] * successes + [False] * (trials - successes))
    assert interval.mean == successes / trials
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("successes", "trials"), [(0, 7), (3, 8), (29, 29)])
def test_wilsons_interval_of_the_failures_is_mirrored(successes: int, trials: int) -> None:
    outcomes = [index < successes for index in range(trials)]
    interval, failures = proportion(outcomes), proportion([not outcome for outcome in outcomes])
    assert (failures.low, failures.high) == pytest.approx((1 - interval.high, 1 - interval.low))


def test_wilsons_interval_narrows_with_less_confidence() -> None:
    sure, less = (proportion([True, False] * 10, confidence) for confidence in (0.99, 0.8))
    assert sure.low < less.low < 0.5 < less.high < sure.high


def test_an_interval_is_plain_numbers() -> None:
    interval = paired_difference([1, 0], [0, 0], ["a", "b"]).as_dict()
    assert {name: type(value) for name, value in interval.items()} == dict.fromkeys(
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
    computed = cohens_kappa([a for a, _ in pairs], [b for _, b in pairs])
    assert computed == (None if kappa is None else pytest.approx(kappa))


@pytest.mark.parametrize(("successes", "trials"), [(0, 20), (1, 29), (81, 263), (29, 29)])
def test_of_independent_scenarios_run_once_a_clustered_interval_is_wilsons(
    successes: int, trials: int
) -> None:
    outcomes = [index < successes for index in range(trials)]
    interval = clustered_proportion(outcomes, each_its_own(trials), trials)
    expected = proportion(outcomes)
    assert (interval.mean, interval.low, interval.high) == pytest.approx(
        (expected.mean, expected.low, expected.high)
    )


def test_samples_that_always_agree_tell_no_more_than_one() -> None:
    outcomes = [True] * 12 + [False] * 28
    once = clustered_proportion(outcomes, each_its_own(40), 40)
    assert clustered_proportion(outcomes, each_its_own(40), 8 * 40) == once
    # Those of independent trials tell as much as that many trials, and never more.
    spread = clustered_proportion([0.3] * 40, each_its_own(40), 8 * 40)
    trials = proportion([True] * 96 + [False] * 224)
    assert (spread.low, spread.high) == pytest.approx((trials.low, trials.high))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_scenarios_that_all_ended_alike_leave_some_doubt(share: float) -> None:
    interval = clustered_proportion([share] * 20, each_its_own(20), 80)
    expected = proportion([bool(share)] * 20)
    assert (interval.low, interval.high) == (expected.low, expected.high)


def test_clusters_widen_the_interval_of_a_share() -> None:
    shares = [1.0] * 20 + [0.0] * 20
    alone = clustered_proportion(shares, each_its_own(40), 40)
    in_fours = clustered_proportion(shares, [str(index // 4) for index in range(40)], 40)
    assert alone.mean == in_fours.mean
    assert in_fours.high - in_fours.low > 1.7 * (alone.high - alone.low)


@pytest.mark.parametrize("mean", [0.05, 0.4, 0.95])
def test_the_interval_of_a_share_covers_the_truth_where_trials_depend_on_each_other(
    mean: float,
) -> None:
    rng = np.random.default_rng(4)
    covered, as_if_independent = 0, 0
    for _ in range(200):
        chances = rng.beta(mean, 1 - mean, size=60)
        outcomes = rng.random((60, 8)) < chances[:, None]
        interval = clustered_proportion(outcomes.mean(axis=1).tolist(), each_its_own(60), 480)
        covered += interval.low <= mean <= interval.high
        rows = proportion(outcomes.ravel().tolist())
        as_if_independent += rows.low <= mean <= rows.high
    assert 0.88 <= covered / 200 <= 0.995
    assert as_if_independent / 200 < 0.75


def test_near_zero_it_covers_the_truth_where_a_bootstrap_does_not() -> None:
    rng = np.random.default_rng(8)
    covered, by_bootstrap = 0, 0
    for _ in range(200):
        shares = rng.binomial(4, rng.beta(0.03, 0.97, size=20)) / 4
        interval = clustered_proportion(shares.tolist(), each_its_own(20), 80)
        covered += interval.low <= 0.03 <= interval.high
        [other] = bootstrap_means(shares[:, None], each_its_own(20))
        by_bootstrap += other.low <= 0.03 <= other.high
    assert covered / 200 >= 0.88
    assert by_bootstrap / 200 < 0.8


def test_means_of_many_columns_are_each_as_they_would_be_alone() -> None:
    rng = np.random.default_rng(6)
    values = rng.normal(size=(40, 2))
    clusters = [str(index // 2) for index in range(40)]
    together = bootstrap_means(values, clusters)
    for column, interval in enumerate(together):
        [alone] = bootstrap_means(values[:, [column]], clusters)
        difference = paired_difference(values[:, column].tolist(), [0] * 40, clusters)
        assert interval.as_dict() == pytest.approx(alone.as_dict())
        assert interval.as_dict() == pytest.approx(difference.as_dict())


def test_a_value_that_is_not_there_counts_for_nothing() -> None:
    values = np.array([[1.0, np.nan], [3.0, 5.0], [np.nan, 5.0]])
    first, second = bootstrap_means(values, ["a", "b", "c"])
    assert first == Interval(2, 1, 3)
    assert second == Interval(5, 5, 5)


def test_the_interval_of_a_mean_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(150):
        # Four attempts of 50 scenarios, each with a level of its own; the true mean is 3.
        level = rng.gamma(3, size=50)
        values = level.repeat(4) + rng.normal(size=200)
        [interval] = bootstrap_means(values[:, None], [str(n // 4) for n in range(200)])
        covered += interval.low <= 3 <= interval.high
    assert 0.88 <= covered / 150 <= 0.995
