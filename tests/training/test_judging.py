from __future__ import annotations

from typing import Any

import pytest

from agent.judge import RulerJudge
from agent.rollout import Rollout
from environment.base import StopReason
from tests.fakes.judge_server import JudgeServer, Manner, failing, good, nothing, prose, shown
from tests.training.world import RankedEnvironment, reply, rollout
from training.accounting import Drop, account
from training.judging import OWN_REWARD, judge_groups


def deserving(*qualities: float) -> list[Rollout]:
    """Rollouts that the environment gave -1, -2, ... and the judge is to give ``qualities``."""
    return [
        rollout(-1.0 - n, text=f"quality {quality}", metrics={"found_gold": 1.0})
        for n, quality in enumerate(qualities)
    ]


async def judged(
    groups: list[list[Rollout]], environment: RankedEnvironment, *manners: Manner
) -> tuple[list[str], JudgeServer]:
    with JudgeServer(*manners) as server:
        judge = RulerJudge("openai/judge", server.base_url)
        return await judge_groups(judge, groups, environment), server


async def test_the_judges_scores_replace_the_rewards_and_keep_them(
    environment: RankedEnvironment,
) -> None:
    groups = [deserving(0.1, 0.9, 0.5), deserving(0.3, 0.2)]
    faults, server = await judged(groups, environment, good)
    assert faults == ["", ""]
    assert [[r.reward.value for r in group] for group in groups] == [[0.1, 0.9, 0.5], [0.3, 0.2]]
    for group in groups:
        for number, judged_rollout in enumerate(group):
            assert judged_rollout.reward.metrics == {"found_gold": 1.0, OWN_REWARD: -1.0 - number}
            assert judged_rollout.reward.reason == "finished"
    assert len(server.requests) == 2
    assert shown(server.requests[0])["tools"] == environment.tool_schemas


@pytest.mark.parametrize("manner", [prose, nothing, failing(400)])
async def test_a_failed_judgement_drops_its_group_and_keeps_its_own_rewards(
    manner: Manner, environment: RankedEnvironment
) -> None:
    groups = [deserving(0.1, 0.9)]
    faults, _ = await judged(groups, environment, manner)
    assert faults[0].startswith("openai/judge")
    assert [r.reward.value for r in groups[0]] == [-1.0, -2.0]
    assert OWN_REWARD not in groups[0][0].reward.metrics
    result = account(groups, environment, 100, faults)
    assert result.dropped == {Drop.JUDGE_FAILED: 2}
    assert result.first_error == faults[0]


async def test_one_groups_failure_is_no_other_groups(environment: RankedEnvironment) -> None:
    def only_threes(deserved: dict[str, float]) -> Any:
        return good(deserved) if len(deserved) == 3 else prose(deserved)

    groups = [deserving(0.1, 0.9), deserving(0.1, 0.2, 0.3)]
    faults, _ = await judged(groups, environment, only_threes)
    assert [bool(fault) for fault in faults] == [True, False]
    result = account(groups, environment, 100, faults)
    assert (result.trained, result.dropped) == (3, {Drop.JUDGE_FAILED: 2})


async def test_rollouts_that_failed_for_outside_reasons_are_not_shown(
    environment: RankedEnvironment,
) -> None:
    late = rollout(-9.0, StopReason.TIMEOUT, [reply()], text="quality 1.0", error="late")
    group = [*deserving(0.4, 0.6), late]
    faults, server = await judged([group], environment, good)
    assert faults == [""]
    assert len(shown(server.requests[0])["attempts"]) == 2
    assert [r.reward.value for r in group] == [0.4, 0.6, -9.0]
    assert account([group], environment, 100, faults).dropped == {Drop.TIMEOUT: 1}


@pytest.mark.parametrize("left", [0, 1])
async def test_a_judge_is_not_asked_about_fewer_than_two(
    left: int, environment: RankedEnvironment
) -> None:
    group = [*deserving(*[0.5] * left), rollout(0, StopReason.ERROR, [])]
    faults, server = await judged([group], environment, good)
    assert (faults, server.requests) == ([""], [])
    assert account([group], environment, 100, faults).trained == 0
