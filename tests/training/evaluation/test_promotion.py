from __future__ import annotations

import pytest

from tests.training.rows import comparison, rows, samples
from training.evaluation.promotion import decide
from training.evaluation.summaries import compare


@pytest.mark.parametrize(
    ("outcomes", "promote", "words"),
    [
        (
            {"base": "-" * 9, "trained": "+" * 9},
            True,
            ["promoted: +1.000 sampled success against the base", "95% interval +1.000 to +1.000"],
        ),
        ({"base": "+" * 9, "trained": "+" * 9}, False, ["not promoted: +0.000", "no gain at all"]),
        ({"base": "+" * 9, "trained": "-" * 9}, False, ["not promoted: -1.000"]),
        (
            {"base": "--------", "trained": "+-------"},
            False,
            ["not promoted: +0.125", "95% interval +0.000 to"],
        ),
        (
            {"base": "-" * 9, "trained": "+" * 9, "incumbent": "-" * 9},
            True,
            ["promoted: ", "against the base", "; +1.000 sampled success against the incumbent"],
        ),
        (
            {"base": "-" * 9, "trained": "+" * 9, "incumbent": "+" * 9},
            False,
            ["not promoted: +0.000 sampled success against the incumbent"],
        ),
        (
            {"base": "+" * 9, "trained": "+" * 9, "incumbent": "-" * 9},
            False,
            ["not promoted: +0.000 sampled success against the base"],
        ),
        ({"trained": "+" * 9}, False, ["not promoted: there was no policy to compare with"]),
        ({"base": "-" * 9}, False, ["not promoted: there was no policy to compare with"]),
    ],
)
def test_promotion_needs_a_sure_gain_over_base_and_incumbent(
    outcomes: dict[str, str], promote: bool, words: list[str]
) -> None:
    decision = decide(comparison(**outcomes))
    assert decision.promote is promote
    assert decision.reason.startswith("promoted" if promote else "not promoted")
    for word in words:
        assert word in decision.reason


def test_a_sure_gain_says_nothing_of_what_is_in_doubt() -> None:
    reason = decide(comparison(base="-" * 9, trained="+" * 9, incumbent="+" * 9)).reason
    assert "against the base" not in reason


def test_greedy_gains_do_not_promote() -> None:
    compared = compare(
        [
            *rows("base", "----", "greedy"),
            *rows("base", "----"),
            *rows("trained", "++++", "greedy"),
            *rows("trained", "----"),
        ],
        0.95,
    )
    assert not decide(compared).promote


@pytest.mark.parametrize("policy", ["base", "trained", "incumbent"])
def test_a_policy_whose_rollouts_failed_decides_nothing(policy: str) -> None:
    evaluated = [*rows("base", "-" * 18), *rows("trained", "+" * 18), *rows("incumbent", "-" * 18)]
    assert decide(compare(evaluated, 0.95)).promote
    failed = {"error": "timeout", "success": False}
    lost = [r for r in evaluated if r.policy == policy][:2]
    kept = [r.model_copy(update=failed) if r in lost else r for r in evaluated]
    decision = decide(compare(kept, 0.95))
    assert not decision.promote
    assert decision.reason == (
        f"not promoted: 2 of 18 rollouts of the {policy} policy failed (timeout)"
    )


def test_one_failure_among_many_does_not_stand_in_the_way() -> None:
    evaluated = [*rows("base", "-" * 20), *rows("trained", "+" * 20)]
    evaluated[3] = evaluated[3].model_copy(update={"error": "timeout"})
    assert decide(compare(evaluated, 0.95)).promote


def test_many_samples_of_few_scenarios_promote_nothing() -> None:
    """One scenario of four was gained for good: that may be chance, however often it is sampled."""
    base = samples("base", *["-" * 50] * 4)
    trained = samples("trained", "+" * 50, *["-" * 50] * 3)
    assert not decide(compare([*base, *trained], 0.95)).promote
    # As if every rollout were a scenario of its own.
    assert decide(comparison(base="-" * 200, trained="+" * 50 + "-" * 150)).promote


def test_a_gain_in_the_chances_of_many_scenarios_promotes() -> None:
    base, trained = ["+---"] * 20, ["++--"] * 19 + ["!!--"]
    evaluated = [*samples("base", *base), *samples("trained", *trained)]
    decision = decide(compare(evaluated, 0.95))
    assert decision.promote, decision.reason
    # One sample of each would not have done.
    assert not decide(compare([r for r in evaluated if r.sample == 2], 0.95)).promote


def test_failures_are_counted_by_rollouts() -> None:
    base, trained = ["----"] * 10, ["++++"] * 10
    evaluated = [*samples("base", *base), *samples("trained", *trained)]
    lost = [r.model_copy(update={"error": "timeout", "reason": "timeout"}) for r in evaluated[-3:]]
    assert decide(compare([*evaluated[:-2], *lost[1:]], 0.95)).promote
    decision = decide(compare([*evaluated[:-3], *lost], 0.95))
    assert decision.reason == (
        "not promoted: 3 of 40 rollouts of the trained policy failed (timeout)"
    )


@pytest.mark.parametrize(("scenarios", "promoted"), [(1, False), (5, False), (6, True)])
def test_so_few_scenarios_that_chance_would_do_promote_nothing(
    scenarios: int, promoted: bool
) -> None:
    decision = decide(comparison(base="-" * scenarios, trained="+" * scenarios))
    assert decision.promote is promoted
    assert promoted or f"{scenarios} held-out scenarios are too few" in decision.reason
