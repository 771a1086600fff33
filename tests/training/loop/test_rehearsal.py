"""What a rehearsed step says is what training would make of it."""

from __future__ import annotations

import pytest

from agent.rollout import Rollout
from environment.base import Outcome, Reward, Scenario, StopReason
from training.loop.rehearsal import RehearsedStep


def rollout(value: float, failure: str = "") -> Rollout:
    return Rollout(
        scenario=Scenario(id="s", split="train"),
        messages=[],
        replies=[],
        outcome=Outcome(StopReason.ERROR if failure else StopReason.FINISHED),
        reward=Reward(value, value == 1.0, "passed" if value else "wrong"),
        seconds=1.0,
        failure=failure,
    )


def test_what_failed_for_outside_reasons_counts_for_nothing() -> None:
    groups = [[rollout(1.0), rollout(0.0, "timeout")], [rollout(1.0), rollout(0.0)]]
    step = RehearsedStep(1, groups, 2.0)
    assert step.reward == pytest.approx(2 / 3)
    assert (step.solved, len(step.counted), step.informative) == (2, 3, 1)
    assert step.reasons == {"passed": 2, "timeout": 1, "wrong": 1}


def test_a_step_of_failures_has_no_reward() -> None:
    step = RehearsedStep(1, [[rollout(0.0, "sandbox")]], 2.0)
    assert (step.reward, step.informative) == (None, 0)
