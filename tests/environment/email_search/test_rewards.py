from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environment.base import StopReason
from environment.email_search.models import EmailOutcome
from environment.email_search.rewards import email_reward

from .builders import scenario

MAX_TURNS = 6
TASK = scenario(1, answer="Monday")
IDS = ("<1@x>", "<2@x>", "<3@x>")

some_ids = st.lists(st.sampled_from(IDS), max_size=3)
silent = st.sampled_from(
    [StopReason.OUT_OF_TURNS, StopReason.NO_TOOL_CALL, StopReason.OVER_LENGTH, StopReason.TIMEOUT]
)


def outcomes(stop, answer):
    """Outcomes that differ in everything but why they ended and what was said."""
    return st.builds(
        EmailOutcome,
        stop=stop,
        answer=answer,
        turns=st.integers(0, MAX_TURNS),
        tool_errors=st.integers(0, 50),
        source_ids=some_ids.map(tuple),
        found_ids=some_ids.map(frozenset),
        read_ids=some_ids.map(frozenset),
        searches=st.integers(0, 50),
    )


finished = st.just(StopReason.FINISHED)
malformed = outcomes(st.just(StopReason.MALFORMED_CALL), st.none())
wrong = outcomes(finished, st.sampled_from(["Tuesday", "not that", "x", "42"]))
ignorant = outcomes(finished, st.sampled_from(["I don't know", "unknown", "", " "]))
nothing = ignorant | outcomes(silent, st.none())
right = outcomes(finished, st.sampled_from(["Monday", "It is on Monday.", "MONDAY"]))
LADDER = {"malformed": malformed, "wrong": wrong, "none": nothing, "right": right}
NAMES = list(LADDER)
PAIRS = [(low, high) for at, high in enumerate(NAMES) for low in NAMES[:at]]


@pytest.mark.parametrize(("low", "high"), PAIRS)
@given(data=st.data())
def test_no_shaping_lifts_a_rung_over_a_higher_one(low, high, data):
    worse = email_reward(TASK, data.draw(LADDER[low]), MAX_TURNS)
    better = email_reward(TASK, data.draw(LADDER[high]), MAX_TURNS)
    assert worse.value < better.value


@given(data=st.data())
def test_success_means_a_right_answer(data):
    for rung, outcome in LADDER.items():
        assert email_reward(TASK, data.draw(outcome), MAX_TURNS).success is (rung == "right")


@given(outcome=malformed | wrong | nothing | right)
def test_the_same_outcome_has_the_same_reward(outcome):
    assert email_reward(TASK, outcome, MAX_TURNS) == email_reward(
        TASK, replace(outcome, source_ids=tuple(outcome.source_ids)), MAX_TURNS
    )


@given(outcome=wrong | nothing | right)
def test_finding_reading_and_citing_the_gold_mail_never_costs(outcome):
    blind = replace(outcome, found_ids=frozenset(), read_ids=frozenset(), source_ids=())
    seeing = replace(
        outcome, found_ids=frozenset(IDS), read_ids=frozenset(IDS), source_ids=TASK.message_ids
    )
    low, high = (email_reward(TASK, o, MAX_TURNS).value for o in (blind, seeing))
    assert low < high


GOOD = EmailOutcome(
    StopReason.FINISHED,
    turns=3,
    answer="Monday",
    source_ids=("<1@x>",),
    found_ids=frozenset({"<1@x>", "<2@x>"}),
    read_ids=frozenset({"<1@x>"}),
    searches=2,
)


@pytest.mark.parametrize(
    "worse",
    [
        {"found_ids": frozenset({"<2@x>"})},
        {"read_ids": frozenset()},
        {"source_ids": ()},
        {"source_ids": ("<2@x>",)},
        {"source_ids": ("<1@x>", "<2@x>")},
        {"turns": 4},
        {"tool_errors": 1},
    ],
    ids=str,
)
def test_within_a_rung_better_work_earns_more(worse):
    assert (
        email_reward(TASK, replace(GOOD, **worse), MAX_TURNS).value
        < email_reward(TASK, GOOD, MAX_TURNS).value
    )


def test_a_turn_saved_pays_only_with_a_right_answer():
    slow, quick = (replace(GOOD, answer="Tuesday", turns=turns) for turns in (6, 1))
    assert email_reward(TASK, slow, MAX_TURNS).value == email_reward(TASK, quick, MAX_TURNS).value


def test_tool_errors_beyond_a_few_cost_no_more():
    few, many = (replace(GOOD, tool_errors=errors) for errors in (4, 400))
    assert email_reward(TASK, few, MAX_TURNS).value == email_reward(TASK, many, MAX_TURNS).value


@pytest.mark.parametrize(
    ("stop", "answer", "reason"),
    [
        (StopReason.FINISHED, "Monday", "right"),
        (StopReason.FINISHED, "Tuesday", "wrong_answer"),
        (StopReason.FINISHED, "I don't know.", "gave_up"),
        (StopReason.FINISHED, "", "gave_up"),
        (StopReason.MALFORMED_CALL, None, "malformed_call"),
        (StopReason.OUT_OF_TURNS, None, "out_of_turns"),
        (StopReason.NO_TOOL_CALL, None, "no_tool_call"),
        (StopReason.OVER_LENGTH, None, "over_length"),
    ],
)
def test_the_reason_says_why_the_value_is_what_it_is(stop, answer, reason):
    assert email_reward(TASK, EmailOutcome(stop, answer=answer), MAX_TURNS).reason == reason


def test_the_metrics_say_what_was_found_read_and_cited():
    outcome = replace(GOOD, source_ids=("<1@x>", "<2@x>"), read_ids=frozenset(), tool_errors=3)
    assert email_reward(TASK, outcome, MAX_TURNS).metrics == {
        "found_gold": 1.0,
        "read_gold": 0.0,
        "source_precision": 0.5,
        "source_recall": 1.0,
        "searches": 2.0,
        "tool_errors": 3.0,
    }


def test_citing_nothing_has_no_precision():
    metrics = email_reward(TASK, replace(GOOD, source_ids=()), MAX_TURNS).metrics
    assert (metrics["source_precision"], metrics["source_recall"]) == (0.0, 0.0)
