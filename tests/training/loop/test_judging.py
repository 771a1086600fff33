from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.hosted.llm import LanguageModel
from agent.judge import JudgeConfig, RulerJudge
from agent.rollout import Rollout
from environment.base import StopReason
from environment.language_model import LlmBudgetSpent
from tests.fakes.judge_server import (
    JudgeServer,
    Manner,
    failing,
    first_is_best,
    good,
    nothing,
    prose,
    shown,
)
from tests.training.world import RankedEnvironment, reply, rollout
from training.loop.accounting import Drop, account
from training.loop.judging import (
    AGREEMENT,
    CACHED,
    CONSISTENCY,
    FAILED_GROUPS,
    FAULTS,
    JUDGE_COST,
    OWN_REWARD,
    REQUESTS,
    distrust,
    judge_faults,
    judge_groups,
    judge_summary,
)
from training.run.run_log import Record


def deserving(*qualities: float) -> list[Rollout]:
    """Rollouts that the environment gave -1, -2, ... and the judge is to give ``qualities``."""
    return [
        rollout(-1.0 - n, text=f"quality {quality}", metrics={"found_gold": 1.0})
        for n, quality in enumerate(qualities)
    ]


def judge_at(server: JudgeServer, cache: Path | None = None, **changes: Any) -> RulerJudge:
    """A judge that judges once, unless ``changes`` say otherwise."""
    settings = {"model": "openai/judge", "timeout_s": 20, "second_order_share": 0} | changes
    config = JudgeConfig(api_base=server.base_url, **settings)
    return RulerJudge(LanguageModel(config, cache), config)


async def judged(
    groups: list[list[Rollout]], environment: RankedEnvironment, *manners: Manner
) -> tuple[list[str], JudgeServer]:
    with JudgeServer(*manners) as server:
        faults, _ = await judge_groups(judge_at(server), groups, environment)
        return faults, server


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


async def metrics(
    groups: list[list[Rollout]], environment: RankedEnvironment, *manners: Manner, **changes: Any
) -> Record:
    with JudgeServer(*manners) as server:
        _, record = await judge_groups(judge_at(server, **changes), groups, environment)
    return record


# The environment's own rewards of ``deserving`` fall from the first to the last.
@pytest.mark.parametrize(
    ("qualities", "agreement"),
    [
        ([(0.9, 0.5, 0.1)], 1.0),
        ([(0.1, 0.5, 0.9)], -1.0),
        ([(0.9, 0.5, 0.1), (0.1, 0.5, 0.9)], 0.0),
        ([(0.9, 0.5, 0.1), (0.4, 0.4, 0.4)], 1.0),
        ([(0.4, 0.4)], None),
    ],
)
async def test_agreement_is_the_rank_correlation_with_the_own_reward_within_groups(
    qualities: list[tuple[float, ...]], agreement: float | None, environment: RankedEnvironment
) -> None:
    record = await metrics([deserving(*each) for each in qualities], environment, good)
    assert record.get(AGREEMENT) == agreement
    assert CONSISTENCY not in record


async def test_rewards_that_are_all_equal_agree_with_nothing(
    environment: RankedEnvironment,
) -> None:
    group = [rollout(0.5, text=f"quality {quality}") for quality in (0.1, 0.9)]
    assert AGREEMENT not in await metrics([group], environment, good)


async def test_consistency_is_that_of_the_groups_judged_twice(
    environment: RankedEnvironment,
) -> None:
    groups = [deserving(0.9, 0.5, 0.1), deserving(0.3, 0.2)]
    assert (await metrics(groups, environment, good, second_order_share=1))[CONSISTENCY] == 1.0
    biased = await metrics(groups, environment, first_is_best, second_order_share=1)
    assert biased[CONSISTENCY] == -1.0


async def test_requests_cache_and_cost_are_those_of_the_step(
    environment: RankedEnvironment, tmp_path: Path
) -> None:
    price = {"usd_per_million_in": 2.0, "usd_per_million_out": 3.0}
    with JudgeServer(good) as server:
        judge = judge_at(server, tmp_path, **price)
        for groups, counted, cached in (
            ([deserving(0.1, 0.2), deserving(0.3, 0.4)], 2, 0),
            ([deserving(0.1, 0.2), deserving(0.5, 0.6)], 1, 1),
        ):
            _, record = await judge_groups(judge, groups, environment)
            assert (record[REQUESTS], record[CACHED]) == (counted, cached)
            assert record[JUDGE_COST] == pytest.approx(counted * 5e-6)
    assert JUDGE_COST not in await metrics([deserving(0.1, 0.2)], environment, good)


async def test_failed_groups_are_counted_with_their_reasons(
    environment: RankedEnvironment, caplog: pytest.LogCaptureFixture
) -> None:
    record = await metrics([deserving(0.1, 0.9)] * 2, environment, failing(400))
    assert record[FAILED_GROUPS] == 2
    ((reason, count),) = record[FAULTS].items()
    assert (count, "not now" in reason) == (2, True)
    assert "judge: 2 of 2 groups dropped: openai/judge" in caplog.text


async def test_a_spent_budget_ends_the_judging_of_all_groups(
    environment: RankedEnvironment,
) -> None:
    price = {"usd_per_million_in": 1e6, "usd_per_million_out": 0.0, "max_cost_usd": 2.0}
    groups = [deserving(0.1, n / 10) for n in range(5)]
    with JudgeServer(good) as server:
        judge = judge_at(server, **price, concurrency=1)
        with pytest.raises(LlmBudgetSpent):
            await judge_groups(judge, groups, environment)
        assert len(server.requests) == 2


def step(agreement: float | None, **more: Any) -> Record:
    known = {} if agreement is None else {AGREEMENT: agreement}
    return {FAILED_GROUPS: 1, FAULTS: {"why": 1}, REQUESTS: 4, CACHED: 2, **known, **more}


def test_a_judge_is_summed_up_over_the_steps() -> None:
    records = [step(0.5, **{JUDGE_COST: 0.25}), step(None), step(1.0, **{CONSISTENCY: 0.5})]
    assert judge_summary(records) == {
        "agreement": 0.75,
        "consistency": 0.5,
        "failed_groups": 3,
        "requests": 12,
        "cached": 6,
        "usd": 0.25,
    }
    assert judge_faults(records) == {"why": 3}
    nothing_known = judge_summary([step(None)])
    assert nothing_known is not None
    assert nothing_known["agreement"] is nothing_known["usd"] is None
    assert judge_summary([{}]) is None


@pytest.mark.parametrize(
    ("records", "warned"),
    [
        ([step(0.1)] * 5, True),
        ([step(-0.9)] * 20, True),
        ([step(0.1)] * 4, False),
        ([step(0.1)] * 4 + [step(None)] * 9, False),
        ([step(0.9)] * 9 + [step(-0.5)], False),
        ([{}] * 9, False),
    ],
)
def test_a_judge_that_ranks_otherwise_over_a_run_is_warned_of(
    records: list[Record], warned: bool
) -> None:
    assert ("rank correlation within groups is" in distrust(records)) == warned
