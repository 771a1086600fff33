"""Put a judge's scores in the place of the environment's own rewards, group by group."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from typing import Any

from agent.judge import JudgeFailed, RulerJudge
from agent.rollout import NOT_THE_AGENTS_FAULT, Rollout
from environment.base import Environment

OWN_REWARD = "independent_reward"


async def judge_groups(
    judge: RulerJudge, groups: Sequence[Sequence[Rollout]], environment: Environment[Any, Any]
) -> list[str]:
    """Score all groups at once, in place; rollouts that failed for outside reasons are not shown.

    The environment's own reward stays beside the judge's, as the metric ``independent_reward``.

    Returns:
        Per group why its judgement failed, or an empty text. A group that failed keeps its own
        rewards and must not be trained on.
    """
    return await asyncio.gather(*(_judge_group(judge, group, environment) for group in groups))


async def _judge_group(
    judge: RulerJudge, group: Sequence[Rollout], environment: Environment[Any, Any]
) -> str:
    shown = [rollout for rollout in group if rollout.stop not in NOT_THE_AGENTS_FAULT]
    if len(shown) < 2:
        return ""
    try:
        scores = await judge.score([r.messages for r in shown], environment.tool_schemas)
    except JudgeFailed as error:
        return str(error)
    for rollout, score in zip(shown, scores, strict=True):
        own = rollout.reward
        rollout.reward = dataclasses.replace(
            own, value=score, metrics={**own.metrics, OWN_REWARD: own.value}
        )
    return ""
