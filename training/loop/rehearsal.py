"""The rollouts of a training run without the training, to check that task, sandbox and model work
together before training costs anything."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from agent.model import ChatModel
from agent.rollout import Limits, Rollout
from environment.base import Environment
from training.config import TrainingConfig
from training.loop.gather import gather_groups
from training.loop.schedule import scenarios_of_step
from training.run.signals import stop_on_signals, unless


@dataclass(frozen=True, slots=True)
class RehearsedStep:
    """The rollouts of one step, by group. Steps count from 1."""

    step: int
    groups: list[list[Rollout]]
    seconds: float

    @property
    def rollouts(self) -> list[Rollout]:
        return [rollout for group in self.groups for rollout in group]

    @property
    def counted(self) -> list[Rollout]:
        """The rollouts without those that failed for outside reasons, which training drops."""
        return [rollout for rollout in self.rollouts if not rollout.failure]

    @property
    def reward(self) -> float | None:
        """Mean reward; None if no rollout counts."""
        values = [rollout.reward.value for rollout in self.counted]
        return fmean(values) if values else None

    @property
    def solved(self) -> int:
        return sum(rollout.reward.success for rollout in self.counted)

    @property
    def reasons(self) -> Counter[str]:
        return Counter(rollout.failure or rollout.reward.reason for rollout in self.rollouts)

    @property
    def informative(self) -> int:
        """Number of groups with different rewards, which a step can learn from."""
        return sum(
            len({r.reward.value for r in group if not r.failure}) > 1 for group in self.groups
        )


async def rehearse(
    model: ChatModel,
    environment: Environment[Any, Any],
    config: TrainingConfig,
    limits: Limits,
    concurrency: int,
    seed: int,
    on_step: Callable[[RehearsedStep], None],
) -> None:
    """Run the scenarios, groups and seeds of ``config.max_steps`` training steps.

    Raises:
        Interrupted: by SIGTERM or SIGINT.
        ValueError: there is no training scenario.
        Exception: an error of the environment.
    """
    scenarios = environment.scenarios("train", config.train_scenarios, seed)
    with stop_on_signals() as stop:
        for step in range(config.max_steps):
            started = time.monotonic()
            chosen = scenarios_of_step(scenarios, step, config.groups_per_step, seed)
            rollouts = gather_groups(
                model,
                environment,
                chosen,
                limits,
                size=config.rollouts_per_group,
                concurrency=concurrency,
                seed=seed,
                step=step,
            )
            groups = await unless(stop, rollouts, f"stopped after step {step}")
            on_step(RehearsedStep(step + 1, groups, time.monotonic() - started))
