from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from openai.types.chat.chat_completion import Choice

from agent.rollout import Limits, Rollout
from environment.base import StopReason
from tests.chat_model import chat_model_on
from tests.fakes.chat_server import ChatServer, calls, fails, says, silence
from tests.training.world import RankedEnvironment, reply, rollout
from training.loop.accounting import Drop, account
from training.loop.gather import gather_rollouts

MAX_TOKENS = 20
LONG = reply(token_ids=range(MAX_TOKENS))
UNUSABLE: dict[str, tuple[Callable[[float], Rollout], Drop]] = {
    "out of time": (
        lambda value: rollout(value, StopReason.TIMEOUT, error="longer than 60 s"),
        Drop.TIMEOUT,
    ),
    "out of time before the first reply": (
        lambda value: rollout(value, StopReason.TIMEOUT, []),
        Drop.TIMEOUT,
    ),
    "the server failed": (
        lambda value: rollout(value, StopReason.ERROR, error="InternalServerError: oops"),
        Drop.EXCEPTION,
    ),
    "the server failed at once": (
        lambda value: rollout(value, StopReason.ERROR, []),
        Drop.EXCEPTION,
    ),
    "no reply": (lambda value: rollout(value, StopReason.OVER_LENGTH, []), Drop.NO_REPLY),
    "no token ids": (lambda value: rollout(value, replies=[reply(None)]), Drop.NO_LOGPROBS),
    "no logprobs": (lambda value: rollout(value, replies=[reply(logprobs=0)]), Drop.NO_LOGPROBS),
    "fewer logprobs than tokens": (
        lambda value: rollout(value, replies=[reply(logprobs=1)]),
        Drop.NO_LOGPROBS,
    ),
    "no token ids in a later turn": (
        lambda value: rollout(value, replies=[reply(), reply(None)]),
        Drop.NO_LOGPROBS,
    ),
    "too long": (lambda value: rollout(value, replies=[LONG]), Drop.OVER_LENGTH),
    "too long in a later turn": (
        lambda value: rollout(value, replies=[reply(), LONG]),
        Drop.OVER_LENGTH,
    ),
}


def good(*values: float) -> list[Rollout]:
    return [rollout(value) for value in values]


def rewards(groups: Sequence[Any]) -> list[list[float]]:
    return [[t.reward for t in group.trajectories] for group in groups]


@pytest.mark.parametrize("case", UNUSABLE)
def test_an_unusable_rollout_is_left_out_for_its_reason(
    case: str, environment: RankedEnvironment
) -> None:
    make, reason = UNUSABLE[case]
    result = account([[rollout(0.0), make(3.0), rollout(1.0)]], environment, MAX_TOKENS)
    assert rewards(result.groups) == [[0.0, 1.0]]
    assert result.dropped == {reason: 1}
    assert result.trained == 2


def test_a_rollout_as_long_as_the_trainer_takes_is_trained_on(
    environment: RankedEnvironment,
) -> None:
    fits = reply(token_ids=range(MAX_TOKENS - 3))
    result = account([[rollout(0, replies=[fits]), rollout(1)]], environment, MAX_TOKENS)
    assert result.trained == 2


@pytest.mark.parametrize("stop", sorted(set(StopReason) - {StopReason.TIMEOUT, StopReason.ERROR}))
def test_what_the_agent_did_badly_is_trained_on(
    stop: StopReason, environment: RankedEnvironment
) -> None:
    result = account([[rollout(0, stop), rollout(1)]], environment, MAX_TOKENS)
    assert result.trained == 2


def test_a_group_of_equal_rewards_teaches_nothing(environment: RankedEnvironment) -> None:
    result = account([good(1, 1, 1), good(0, 1)], environment, MAX_TOKENS)
    assert rewards(result.groups) == [[0, 1]]
    assert result.dropped == {Drop.ZERO_VARIANCE: 3}


def test_equal_rewards_of_what_is_left_of_a_group_teach_nothing(
    environment: RankedEnvironment,
) -> None:
    group = [rollout(0, StopReason.TIMEOUT), *good(1, 1)]
    result = account([group], environment, MAX_TOKENS)
    assert result.groups == []
    assert result.dropped == {Drop.TIMEOUT: 1, Drop.ZERO_VARIANCE: 2}


def test_one_rollout_left_of_a_group_has_nothing_to_compare_with(
    environment: RankedEnvironment,
) -> None:
    group = [rollout(0, StopReason.TIMEOUT), rollout(0, StopReason.ERROR), rollout(1)]
    result = account([group], environment, MAX_TOKENS)
    assert result.dropped == {Drop.TIMEOUT: 1, Drop.EXCEPTION: 1, Drop.GROUP_TOO_SMALL: 1}


def test_a_group_of_which_nothing_is_left_counts_under_its_reasons_only(
    environment: RankedEnvironment,
) -> None:
    result = account([[rollout(0, StopReason.TIMEOUT)] * 3], environment, MAX_TOKENS)
    assert result.dropped == {Drop.TIMEOUT: 3}


def test_a_failed_judgement_drops_its_group_and_no_other(environment: RankedEnvironment) -> None:
    groups = [good(0, 1), good(2, 3, 4), good(5, 6)]
    result = account(groups, environment, MAX_TOKENS, ["", "the judge sleeps", ""])
    assert rewards(result.groups) == [[0, 1], [5, 6]]
    assert result.dropped == {Drop.JUDGE_FAILED: 3}
    assert result.first_error == "the judge sleeps"


def test_the_first_error_is_kept(environment: RankedEnvironment) -> None:
    group = [
        rollout(0, StopReason.TIMEOUT, error="first"),
        rollout(1, StopReason.ERROR, error="second"),
    ]
    assert account([group, group], environment, MAX_TOKENS).first_error == "first"


def test_counts_add_up_and_order_is_kept(environment: RankedEnvironment) -> None:
    groups = [
        good(0, 1, 2),
        [make(value) for value, (make, _) in enumerate(UNUSABLE.values())],
        good(1, 1),
        [rollout(3), *(make(0.0) for make, _ in UNUSABLE.values()), rollout(2), rollout(9)],
        [rollout(1), rollout(2, StopReason.TIMEOUT)],
        good(4, 5),
    ]
    result = account(groups, environment, MAX_TOKENS, ["", "", "", "", "", "judge"])
    assert rewards(result.groups) == [[0, 1, 2], [3, 2, 9]]
    assert result.trained == 6
    assert result.trained + result.dropped.total() == sum(map(len, groups))
    assert set(result.dropped) == set(Drop)


def test_a_trajectory_carries_the_tokens_as_they_were_sampled(
    environment: RankedEnvironment,
) -> None:
    first = rollout(0, replies=[reply((7, 8)), reply((9,))], metrics={"found_gold": 1.0})
    result = account([[first, rollout(1)]], environment, MAX_TOKENS)
    trajectory = result.groups[0].trajectories[0]
    choices = [m for m in trajectory.messages_and_choices if isinstance(m, Choice)]
    assert [c.model_extra["token_ids"] for c in choices] == [[7, 8], [9]]  # type: ignore[index]
    assert [c.model_extra["prompt_token_ids"] for c in choices] == [[1, 2, 3]] * 2  # type: ignore[index]
    assert trajectory.metadata["scenario_id"] == "q1"
    assert trajectory.metrics["found_gold"] == 1.0
    assert trajectory.tools == environment.tool_schemas


SEARCH = calls(("search_inbox_tool", {"keywords": ["audit"]}))


@pytest.mark.parametrize(
    ("scripts", "reason"),
    [
        ([silence], Drop.TIMEOUT),
        ([SEARCH, silence], Drop.TIMEOUT),
        ([fails(500)], Drop.EXCEPTION),
        ([SEARCH, fails(401)], Drop.EXCEPTION),
        ([fails(400, code="context_length_exceeded")], Drop.NO_REPLY),
        ([says("no tools, no search")], Drop.OVER_LENGTH),
    ],
)
async def test_a_rollout_against_a_server_ends_in_the_account(
    scripts: list[Any], reason: Drop, environment: RankedEnvironment
) -> None:
    with ChatServer(*scripts) as server:
        scenario = environment.scenarios("train", 1)[0]
        async with chat_model_on(server, environment.tool_schemas, timeout_s=5) as model:
            rollouts = await gather_rollouts(
                model, environment, [scenario], Limits(3, 4096, 0.5), seeds=[1], concurrency=1
            )
    result = account([rollouts], environment, max_tokens=64)
    assert result.dropped == {reason: 1}


@pytest.mark.parametrize(
    ("replies", "reason"),
    [
        ([reply(None, logprobs=2)], None),
        ([reply(None, logprobs=0)], Drop.NO_LOGPROBS),
        ([reply(None, logprobs=2), reply(None)], Drop.NO_LOGPROBS),
        (
            [reply(None, logprobs=2) | {"usage": {"total_tokens": MAX_TOKENS + 1}}],
            Drop.OVER_LENGTH,
        ),
    ],
    ids=["as it should be", "no logprobs", "none in a later turn", "too long"],
)
def test_a_backend_that_tokenises_anew_needs_no_token_ids(
    replies: list[dict[str, Any]], reason: Drop | None, environment: RankedEnvironment
) -> None:
    group = [rollout(value, replies=replies) for value in (0.0, 1.0)]
    accounted = account([group], environment, MAX_TOKENS, exact_tokens=False)
    assert accounted.dropped == ({} if reason is None else {reason: 2})
    assert accounted.trained == (2 if reason is None else 0)
