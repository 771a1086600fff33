"""Evaluate policies on the same held-out scenarios, greedy and sampled, and compare them.

Sampled success (temperature 1) is what reinforcement learning improves and what a promotion is
decided on; greedy success is what a deployment with temperature 0 would show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean, median
from typing import Any, Literal

from pydantic import BaseModel

from agent.rollout import Rollout, seed_from
from backends import PolicyHandle
from environment.base import Environment, Scenario
from training.config import RolloutConfig
from training.gather import chat_model, gather_rollouts, limits
from training.statistics import Interval, means, paired_difference, proportion

Mode = Literal["greedy", "sampled"]
MODES: tuple[Mode, ...] = ("greedy", "sampled")
_TEMPERATURE = {"greedy": 0.0, "sampled": 1.0}


class EvaluationRow(BaseModel):
    """One rollout of an evaluation."""

    policy: str
    mode: Mode
    scenario_id: str
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


async def evaluate_policy(
    label: str,
    policy: PolicyHandle,
    environment: Environment[Any, Any],
    scenarios: Sequence[Scenario],
    config: RolloutConfig,
    seed: int,
    modes: Sequence[Mode] = MODES,
    on_done: Callable[[Rollout], None] | None = None,
) -> list[EvaluationRow]:
    """Run the newest checkpoint of ``policy`` on every scenario, once per mode."""
    step = await policy.step()
    rows: list[EvaluationRow] = []
    for mode in modes:
        model = chat_model(policy, environment, config, step, _TEMPERATURE[mode])
        try:
            rollouts = await gather_rollouts(
                model,
                environment,
                scenarios,
                limits(config),
                seeds=[seed_from(seed, scenario.id) for scenario in scenarios],
                concurrency=config.concurrency,
                on_done=on_done,
            )
        finally:
            await model.close()
        rows += [_row(label, mode, rollout) for rollout in rollouts]
    return rows


def _row(label: str, mode: Mode, rollout: Rollout) -> EvaluationRow:
    scenario, outcome = rollout.scenario, rollout.outcome
    sources = getattr(scenario, "message_ids", ())
    return EvaluationRow(
        policy=label,
        mode=mode,
        scenario_id=scenario.id,
        kind=getattr(scenario, "kind", "") or "all",
        cluster=sources[0] if sources else scenario.id,
        question=getattr(scenario, "question", ""),
        gold=getattr(scenario, "answer", ""),
        answer=getattr(outcome, "answer", None),
        success=rollout.reward.success,
        reward=rollout.reward.value,
        reason=rollout.reward.reason if not rollout.error else str(rollout.stop),
        turns=outcome.turns,
        tokens=rollout.prompt_tokens + rollout.completion_tokens,
        seconds=rollout.seconds,
        metrics=dict(rollout.reward.metrics),
    )


class PolicySummary(BaseModel):
    """How one policy did in one mode."""

    scenarios: int
    success: float
    success_low: float
    success_high: float
    reward: float
    turns: float
    tokens: float
    seconds_p50: float
    reasons: dict[str, int]
    by_kind: dict[str, float]
    metrics: dict[str, float]


class Comparison(BaseModel):
    """All policies of an evaluation, and what the trained one gains over each other one.

    ``differences[other][mode]`` holds mean, low and high of trained minus other.
    """

    policies: dict[str, dict[Mode, PolicySummary]]
    differences: dict[str, dict[Mode, dict[str, float]]]
    confidence: float


def compare(
    rows: Iterable[EvaluationRow], confidence: float, trained: str = "trained"
) -> Comparison:
    """Summaries per policy and mode, and paired differences of ``trained`` to every other."""
    by: dict[str, dict[Mode, list[EvaluationRow]]] = {}
    for row in rows:
        by.setdefault(row.policy, {}).setdefault(row.mode, []).append(row)
    differences: dict[str, dict[Mode, dict[str, float]]] = {
        other: {
            mode: _difference(by[trained][mode], old, confidence).as_dict()
            for mode, old in modes.items()
        }
        for other, modes in by.items()
        if other != trained and trained in by
    }
    policies = {
        label: {mode: _summary(found, confidence) for mode, found in modes.items()}
        for label, modes in by.items()
    }
    return Comparison(policies=policies, differences=differences, confidence=confidence)


def _difference(
    new: Sequence[EvaluationRow], old: Sequence[EvaluationRow], confidence: float
) -> Interval:
    if [row.scenario_id for row in new] != [row.scenario_id for row in old]:
        raise ValueError("the policies were not evaluated on the same scenarios")
    return paired_difference(
        [row.success for row in new],
        [row.success for row in old],
        [row.cluster for row in new],
        confidence,
    )


def _summary(rows: Sequence[EvaluationRow], confidence: float) -> PolicySummary:
    success = proportion([row.success for row in rows], confidence)
    kinds: dict[str, list[bool]] = {}
    for row in rows:
        kinds.setdefault(row.kind, []).append(row.success)
    return PolicySummary(
        scenarios=len(rows),
        success=success.mean,
        success_low=success.low,
        success_high=success.high,
        reward=fmean(row.reward for row in rows),
        turns=fmean(row.turns for row in rows),
        tokens=fmean(row.tokens for row in rows),
        seconds_p50=median(row.seconds for row in rows),
        reasons=dict(Counter(row.reason for row in rows).most_common()),
        by_kind={kind: fmean(values) for kind, values in sorted(kinds.items())},
        metrics=means([row.metrics for row in rows]),
    )
