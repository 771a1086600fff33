"""Account for every trajectory of a step: trained on, or dropped for a reason that is counted.

A group with equal rewards has no advantages to learn from; a rollout that failed for outside reasons
must not count as the agent's failure; a reply without token ids cannot be trained on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import art
from openai.types.chat.chat_completion import Choice

from agent.rollout import Rollout
from backends.packing import NoTokens, training_rows
from backends.trajectory import ExactTrajectory
from environment.base import Environment, StopReason
from training.loop.trajectories import to_trajectory


class Drop(StrEnum):
    """Why a trajectory was not trained on."""

    ZERO_VARIANCE = "zero_variance"
    """All rewards of its group are equal."""
    GROUP_TOO_SMALL = "group_too_small"
    """It is the only one left of its group."""
    NO_LOGPROBS = "no_logprobs"
    """The server reported no token ids or log-probabilities."""
    OVER_LENGTH = "over_length"
    """Longer than the trainer's limit."""
    TIMEOUT = "timeout"
    """The rollout ran out of time."""
    EXCEPTION = "exception"
    """The model server failed."""
    NO_REPLY = "no_reply"
    """The prompt alone was too long, so the policy wrote nothing."""
    JUDGE_FAILED = "judge_failed"
    """The judge gave no usable scores for its group."""


@dataclass(slots=True)
class StepAccount:
    """The groups that a step trains on, and counts of what it dropped."""

    groups: list[art.TrajectoryGroup] = field(default_factory=list)
    trained: int = 0
    dropped: Counter[Drop] = field(default_factory=Counter)
    first_error: str = ""


def account(
    groups: Sequence[Sequence[Rollout]],
    environment: Environment[Any, Any],
    max_tokens: int,
    judge_faults: Sequence[str] = (),
    exact_tokens: bool = True,
) -> StepAccount:
    """Sort the rollouts of a step, group by group.

    Args:
        max_tokens: the trainer's limit per sequence.
        judge_faults: why judging failed, per group; empty strings for success.
        exact_tokens: whether the backend trains on token ids, which replies must then have.
    """
    result = StepAccount()
    for index, rollouts in enumerate(groups):
        if judge_faults and judge_faults[index]:
            result.dropped[Drop.JUDGE_FAILED] += len(rollouts)
            result.first_error = result.first_error or judge_faults[index]
            continue
        usable: list[art.Trajectory] = []
        for rollout in rollouts:
            trajectory = to_trajectory(rollout, environment)
            reason = _reason_to_drop(rollout, trajectory, max_tokens, exact_tokens)
            if reason is None:
                usable.append(trajectory)
            else:
                result.dropped[reason] += 1
                result.first_error = result.first_error or rollout.error
        if len(usable) < 2:
            result.dropped[Drop.GROUP_TOO_SMALL] += len(usable)
        elif len({t.reward for t in usable}) == 1:
            result.dropped[Drop.ZERO_VARIANCE] += len(usable)
        else:
            result.groups.append(art.TrajectoryGroup(usable))
            result.trained += len(usable)
    result.dropped = +result.dropped
    return result


def _reason_to_drop(
    rollout: Rollout, trajectory: ExactTrajectory, max_tokens: int, exact_tokens: bool
) -> Drop | None:
    if rollout.stop is StopReason.TIMEOUT:
        return Drop.TIMEOUT
    if rollout.stop is StopReason.ERROR:
        return Drop.EXCEPTION
    choices = [m for m in trajectory.messages_and_choices if isinstance(m, Choice)]
    if not choices:
        return Drop.NO_REPLY
    if not exact_tokens:
        if not all(choice.logprobs and choice.logprobs.content for choice in choices):
            return Drop.NO_LOGPROBS
        longest = max(
            (reply.get("usage") or {}).get("total_tokens", 0) for reply in rollout.replies
        )
        return Drop.OVER_LENGTH if longest > max_tokens else None
    try:
        trajectory.rows = training_rows(trajectory)
    except NoTokens:
        return Drop.NO_LOGPROBS
    if any(len(row.ids) > max_tokens for row in trajectory.rows):
        return Drop.OVER_LENGTH
    return None
