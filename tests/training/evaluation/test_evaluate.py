from __future__ import annotations

import pytest

from tests.training.rows import comparison, row, rows, samples
from training.evaluation.evaluate import EvaluationRow
from training.evaluation.statistics import clustered_proportion, paired_difference, proportion
from training.evaluation.summaries import compare


def test_a_summary_describes_one_policy_in_one_mode() -> None:
    compared = compare(
        [
            row("base", "a", True, kind="due", turns=2, tokens=100, seconds=1.0),
            row("base", "b", False, kind="due", turns=4, tokens=200, seconds=9.0),
            row("base", "c", True, kind="phone", turns=6, tokens=600, seconds=2.0),
            row("base", "a", False, "greedy"),
        ],
        0.9,
    )
    summary = compared.policies["base"]["sampled"]
    expected = proportion([True, False, True], 0.9)
    assert (summary.success, summary.success_low, summary.success_high) == (
        expected.mean,
        expected.low,
        expected.high,
    )
    assert (summary.scenarios, summary.turns, summary.tokens, summary.seconds_p50) == (3, 4, 300, 2)
    assert summary.reasons == {"right": 2, "gave_up": 1}
    assert summary.by_kind == {"due": 0.5, "phone": 1.0}
    assert summary.metrics["source_recall"].mean == pytest.approx(2 / 3)
    assert compared.policies["base"]["greedy"].success == 0
    assert (compared.confidence, compared.differences) == (0.9, {})


def test_the_trained_policy_is_compared_with_every_other_in_every_mode() -> None:
    compared = compare(
        [
            *rows("base", "+-+-"),
            *rows("base", "+++-", "greedy"),
            *rows("trained", "++++"),
            *rows("trained", "+++-", "greedy"),
            *rows("incumbent", "-+++"),
            *rows("incumbent", "----", "greedy"),
        ],
        0.95,
    )
    means = {
        other: {mode: interval["mean"] for mode, interval in modes.items()}
        for other, modes in compared.differences.items()
    }
    assert means == {
        "base": {"sampled": 0.5, "greedy": 0.0},
        "incumbent": {"sampled": 0.25, "greedy": 0.75},
    }
    expected = paired_difference([1, 1, 1, 1], [1, 0, 1, 0], ["q0", "q1", "q2", "q3"])
    assert compared.differences["base"]["sampled"] == expected.as_dict()


def test_questions_about_the_same_mail_are_one_cluster() -> None:
    base = [row("base", f"q{n}", False, cluster=str(n // 5)) for n in range(20)]
    trained = [row("trained", f"q{n}", n < 10, cluster=str(n // 5)) for n in range(20)]
    together = compare([*base, *trained], 0.95).differences["base"]["sampled"]
    alone = comparison(base="-" * 20, trained="+" * 10 + "-" * 10).differences["base"]["sampled"]
    assert together["mean"] == alone["mean"] == 0.5
    assert together["high"] - together["low"] > alone["high"] - alone["low"]


@pytest.mark.parametrize(
    "trained",
    [
        [row("trained", "a", True)],
        [row("trained", "a", True), row("trained", "c", True)],
        [row("trained", "a", True), row("trained", "b", True), row("trained", "c", True)],
    ],
)
def test_other_scenarios_cannot_be_compared(trained: list[EvaluationRow]) -> None:
    base = [row("base", "a", True), row("base", "b", True)]
    with pytest.raises(ValueError, match="not evaluated on the same scenarios"):
        compare([*base, *trained], 0.95)


def test_a_metric_that_only_some_rollouts_have_is_averaged_over_those() -> None:
    compared = compare(
        [
            row("base", "a", True, metrics={"seen": 1.0}),
            row("base", "b", False, metrics={}),
            row("base", "c", False, metrics={"seen": 0.0, "asked": 3.0}),
        ],
        0.95,
    )
    metrics = compared.policies["base"]["sampled"].metrics
    assert {name: interval.mean for name, interval in metrics.items()} == {"seen": 0.5, "asked": 3}
    assert (metrics["seen"].low, metrics["seen"].high) == (0, 1)
    assert (metrics["asked"].low, metrics["asked"].high) == (3, 3)


def test_a_rollout_with_an_error_is_counted_apart() -> None:
    summary = compare(
        [
            row("o3", "a", True, seconds=1.0),
            row("o3", "b", False, seconds=3.0),
            row("o3", "c", False, error="rate_limit", reason="rate_limit", seconds=99.0, turns=9),
            row("o3", "d", False, error="rate_limit", reason="rate_limit", kind="phone"),
            row("o3", "e", False, error="refused", reason="refused"),
        ],
        0.95,
    ).policies["o3"]["sampled"]
    assert (summary.scenarios, summary.success, summary.turns, summary.seconds_p50) == (
        5,
        0.5,
        3,
        2,
    )
    assert summary.errors == {"rate_limit": 2, "refused": 1}
    assert summary.by_kind == {"due": 0.5}
    assert summary.reasons == {"rate_limit": 2, "right": 1, "gave_up": 1, "refused": 1}


def test_where_nothing_but_errors_came_there_is_no_success() -> None:
    failed = row("o3", "a", False, error="timeout", cost_usd=0.0)
    compared = compare([failed, row("trained", "a", True)], 0.95)
    summary = compared.policies["o3"]["sampled"]
    assert summary.success is summary.success_low is summary.seconds_p99 is None
    assert summary.usd_per_1000 is None
    assert compared.differences == {"o3": {}}


def test_pairs_with_an_error_are_left_out_of_a_difference() -> None:
    base = [row("base", "a", False), row("base", "b", False, error="timeout")]
    trained = [row("trained", "a", True), row("trained", "b", False)]
    assert compare([*base, *trained], 0.95).differences["base"]["sampled"]["mean"] == 1


def test_source_accuracy_is_of_the_right_answers() -> None:
    rollouts = [
        row("o3", "a", True, cites_source=True),
        row("o3", "b", True, cites_source=False),
        row("o3", "c", False, cites_source=True),
    ]
    assert compare(rollouts, 0.95).policies["o3"]["sampled"].source_accuracy == 0.5
    nothing_cited = [row("o3", "a", True, cites_source=None)]
    assert compare(nothing_cited, 0.95).policies["o3"]["sampled"].source_accuracy is None


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        ((0.01, 0.03), 20.0),
        ((0.01, None), None),
        ((None, None), None),
    ],
)
def test_the_cost_is_that_of_a_thousand_questions(
    costs: tuple[float | None, ...], expected: float | None
) -> None:
    rollouts = [row("o3", str(n), True, cost_usd=cost) for n, cost in enumerate(costs)]
    # What the budget left unasked would make it look cheap.
    rollouts.append(row("o3", "unasked", False, error="budget", cost_usd=0.0))
    assert compare(rollouts, 0.95).policies["o3"]["sampled"].usd_per_1000 == expected


def test_latency_is_told_by_its_middle_and_its_tail() -> None:
    rollouts = [row("o3", str(n), True, seconds=float(n)) for n in range(101)]
    summary = compare(rollouts, 0.95).policies["o3"]["sampled"]
    assert (summary.seconds_p50, summary.seconds_p99) == (50, 99)


def test_one_sample_of_each_scenario_gives_no_pass_at_k() -> None:
    summary = comparison(base="+-+").policies["base"]["sampled"]
    assert (summary.samples, summary.rollouts, summary.pass_at_k) == (1, 3, [])


def test_each_scenario_counts_alike_however_many_of_its_rollouts_do() -> None:
    summary = compare(samples("base", "++++", "-!!!", "+--!"), 0.9).policies["base"]["sampled"]
    shares, scenarios = [1, 0, 1 / 3], ["q0", "q1", "q2"]
    expected = clustered_proportion(shares, scenarios, 8, 0.9)
    assert (summary.success, summary.success_low, summary.success_high) == pytest.approx(
        (expected.mean, expected.low, expected.high)
    )
    assert (summary.scenarios, summary.rollouts, summary.samples) == (3, 12, 4)
    assert summary.errors == {"timeout": 4}
    assert summary.by_kind == {"due": pytest.approx(4 / 9)}
    # Of q2, two of its three rollouts hold the right one with a chance of two thirds.
    assert [(f.k, f.mean, f.left_out) for f in summary.pass_at_k] == [
        (1, pytest.approx(4 / 9), 0),
        (2, pytest.approx((1 + 2 / 3) / 2), 1),
        (4, 1.0, 2),
    ]


def test_the_number_of_samples_is_known_where_some_failed() -> None:
    summary = compare(samples("base", "+!!!", "-!!!"), 0.95).policies["base"]["sampled"]
    assert (summary.samples, [f.k for f in summary.pass_at_k]) == (4, [1])
    failed = compare(samples("base", "!!"), 0.95).policies["base"]["sampled"]
    assert (failed.success, failed.pass_at_k, failed.endings) == (None, [], {})


def test_samples_of_a_scenario_are_no_scenarios_of_their_own() -> None:
    """Four rollouts that always agree tell as much as one."""
    base, trained = ["-"] * 12, [*"+" * 8, *"-" * 4]
    once = compare([*samples("base", *base), *samples("trained", *trained)], 0.95)
    often = compare(
        [
            *samples("base", *(text * 4 for text in base)),
            *samples("trained", *(text * 4 for text in trained)),
        ],
        0.95,
    )
    assert often.differences == once.differences
    one, other = (compared.policies["trained"]["sampled"] for compared in (once, often))
    assert (other.success, other.success_low, other.success_high) == pytest.approx(
        (one.success, one.success_low, one.success_high)
    )
    assert other.metrics == one.metrics
    assert other.endings.keys() == one.endings.keys()


def test_samples_of_one_cluster_are_resampled_together() -> None:
    texts = ["++", "++", "+-", "--", "--", "--"]
    alone = compare(samples("base", *texts), 0.95).policies["base"]["sampled"]
    together = compare(
        [
            r.model_copy(update={"cluster": str(int(r.scenario_id[1:]) // 3)})
            for r in samples("base", *texts)
        ],
        0.95,
    ).policies["base"]["sampled"]
    assert alone.success == together.success
    assert together.success_high - together.success_low > alone.success_high - alone.success_low
    for one, other in zip(together.pass_at_k, alone.pass_at_k, strict=True):
        assert one.high - one.low > other.high - other.low


def test_a_difference_is_of_the_shares_of_each_scenario() -> None:
    base = samples("base", "+--!", "----", "!!!!", "++++")
    trained = samples("trained", "++-+", "+!!!", "++++", "++++")
    difference = compare([*base, *trained], 0.95).differences["base"]["sampled"]
    gains = [3 / 4 - 1 / 3, 1, 0]
    assert difference == pytest.approx(
        paired_difference(gains, [0, 0, 0], ["q0", "q1", "q3"]).as_dict()
    )


def test_policies_sampled_otherwise_are_not_compared() -> None:
    with pytest.raises(ValueError, match="not evaluated on the same scenarios"):
        compare([*samples("base", "+-"), *samples("trained", "+")], 0.95)


def test_endings_are_shares_of_the_rollouts_without_an_error() -> None:
    summary = compare(samples("o3", "+", "+", "-", "!"), 0.95).policies["o3"]["sampled"]
    assert summary.endings == {
        "right": proportion([True, True, False]),
        "gave_up": proportion([False, False, True]),
    }
    several = compare(samples("o3", "+-", "++", "!-"), 0.95).policies["o3"]["sampled"]
    assert several.endings["right"].mean == several.success == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert sum(share.mean for share in several.endings.values()) == pytest.approx(1)


def test_metrics_have_intervals_over_scenarios() -> None:
    rollouts = [
        row("base", f"q{n}", False, sample=sample, metrics={"attempts": 1.0 + n % 3})
        for n in range(30)
        for sample in range(4)
    ]
    attempts = compare(rollouts, 0.95).policies["base"]["sampled"].metrics["attempts"]
    assert attempts.mean == 2
    # The deviation of 1, 2, 3 is 0.816; over 30 scenarios, and not 120 rollouts.
    assert attempts.high - attempts.low == pytest.approx(2 * 1.96 * 0.816 / 30**0.5, rel=0.1)
