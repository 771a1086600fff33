"""Evaluate policies on the same held-out scenarios, greedy and sampled.

Sampled success (temperature 1) is what reinforcement learning improves and what a promotion is
decided on; greedy success is what a deployment with temperature 0 would show.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

from pydantic import BaseModel, TypeAdapter

from agent.failures import REFUSED, is_refusal
from agent.rollout import Rollout, seed_from
from backends import PolicyHandle
from environment.base import Environment, Scenario
from training.config import RolloutConfig
from training.loop.gather import chat_model, gather_rollouts, limits

Mode = Literal["greedy", "sampled"]
MODES: tuple[Mode, ...] = ("greedy", "sampled")
_TEMPERATURE = {"greedy": 0.0, "sampled": 1.0}


class EvaluationRow(BaseModel):
    """One rollout of an evaluation.

    Args:
        sample: which of the rollouts of its scenario it is, counted from 0.
        error: why it says nothing about the policy, in a word: the model server failed or refused,
            the budget was spent, the judge gave no verdict. Empty if it counts.
        seconds: of the whole rollout, tools included, while ``at_once`` of them ran.
        cost_usd: None if nobody knows.
        matched: the environment's own verdict, which is ``success`` unless a judge decides.
        judged: the judge's verdict, if it was asked and gave one.
        scenario, outcome, messages: all that it takes to score it again.
    """

    policy: str
    mode: Mode
    scenario_id: str
    sample: int = 0
    kind: str
    cluster: str
    question: str
    gold: str
    answer: str | None
    success: bool
    reward: float
    reason: str
    turns: int
    tokens: int
    seconds: float
    metrics: dict[str, float]
    cites_source: bool | None = None
    error: str = ""
    model: str = ""
    at_once: int = 0
    cost_usd: float | None = None
    matched: bool = False
    judged: bool | None = None
    judge_error: str = ""
    scenario: dict[str, Any] = {}
    outcome: dict[str, Any] = {}
    messages: list[dict[str, Any]] = []


async def evaluate_policy(
    label: str,
    policy: PolicyHandle,
    environment: Environment[Any, Any],
    scenarios: Sequence[Scenario],
    config: RolloutConfig,
    seed: int,
    modes: Sequence[Mode] = MODES,
    on_done: Callable[[Rollout], None] | None = None,
    usd_per_hour: float | None = None,
    samples: int = 1,
) -> list[EvaluationRow]:
    """Run the newest checkpoint of ``policy`` on every scenario, in every mode.

    Args:
        samples: sampled rollouts of each scenario.
        usd_per_hour: price of the machine; the cost of a rollout is its share of the time that
            all of them took.
    """
    step = await policy.step()
    rows: list[EvaluationRow] = []
    for mode in modes:
        model = chat_model(policy, environment, config, step, _TEMPERATURE[mode])
        played = [(s, n) for s in scenarios for n in range(rollouts_of_each(mode, samples))]
        started = time.monotonic()
        try:
            rollouts = await gather_rollouts(
                model,
                environment,
                [scenario for scenario, _ in played],
                limits(config),
                seeds=[sample_seed(seed, scenario.id, sample) for scenario, sample in played],
                concurrency=config.concurrency,
                on_done=on_done,
            )
        finally:
            await model.close()
        hours = (time.monotonic() - started) / 3600
        cost = None if usd_per_hour is None else usd_per_hour * hours / len(rollouts)
        at_once = min(config.concurrency, len(played))
        rows += [
            row_of(label, mode, rollout, at_once, cost, sample=sample)
            for rollout, (_, sample) in zip(rollouts, played, strict=True)
        ]
    return rows


def rollouts_of_each(mode: Mode, samples: int) -> int:
    """How often a scenario is run; greedy once, as it would come out the same."""
    return samples if mode == "sampled" else 1


def sample_seed(seed: int, scenario_id: str, sample: int) -> int:
    """The first sample of a scenario is the same however many follow."""
    return seed_from(seed, scenario_id, sample) if sample else seed_from(seed, scenario_id)


def row_of(
    label: str,
    mode: Mode,
    rollout: Rollout,
    at_once: int,
    cost_usd: float | None,
    model: str = "",
    sample: int = 0,
) -> EvaluationRow:
    scenario, outcome = rollout.scenario, rollout.outcome
    view = scenario.view
    refused = bool(rollout.replies) and is_refusal(rollout.replies[-1])
    error = rollout.failure or (REFUSED if refused else "")
    return EvaluationRow(
        policy=label,
        mode=mode,
        scenario_id=scenario.id,
        sample=sample,
        kind=view.kind,
        cluster=view.cluster or scenario.id,
        question=view.question,
        gold=view.gold,
        answer=outcome.answer,
        success=rollout.reward.success,
        reward=rollout.reward.value,
        reason=error or rollout.reward.reason,
        turns=outcome.turns,
        tokens=rollout.prompt_tokens + rollout.completion_tokens,
        seconds=rollout.seconds,
        metrics=dict(rollout.reward.metrics),
        cites_source=rollout.reward.cites_source,
        error=error,
        matched=rollout.reward.success,
        model=model,
        at_once=at_once,
        cost_usd=cost_usd,
        scenario=scenario.model_dump(mode="json"),
        outcome=TypeAdapter(type(outcome)).dump_python(outcome, mode="json"),
        messages=rollout.messages,
    )
