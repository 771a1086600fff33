"""Evaluate policies on the same held-out scenarios, greedy and sampled, and compare them.

Sampled success (temperature 1) is what reinforcement learning improves and what a promotion is
decided on; greedy success is what a deployment with temperature 0 would show.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, TypeAdapter

from agent.failures import BUDGET, REFUSED, is_refusal
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
    """One rollout of an evaluation.

    Args:
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
) -> list[EvaluationRow]:
    """Run the newest checkpoint of ``policy`` on every scenario, once per mode.

    Args:
        usd_per_hour: price of the machine; the cost of a rollout is its share of the time that
            all of them took.
    """
    step = await policy.step()
    rows: list[EvaluationRow] = []
    for mode in modes:
        model = chat_model(policy, environment, config, step, _TEMPERATURE[mode])
        started = time.monotonic()
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
        hours = (time.monotonic() - started) / 3600
        cost = None if usd_per_hour is None else usd_per_hour * hours / len(rollouts)
        at_once = min(config.concurrency, len(scenarios))
        rows += [row_of(label, mode, rollout, at_once, cost) for rollout in rollouts]
    return rows


def row_of(
    label: str,
    mode: Mode,
    rollout: Rollout,
    at_once: int,
    cost_usd: float | None,
    model: str = "",
) -> EvaluationRow:
    scenario, outcome = rollout.scenario, rollout.outcome
    sources = getattr(scenario, "message_ids", ())
    refused = bool(rollout.replies) and is_refusal(rollout.replies[-1])
    error = rollout.failure or (REFUSED if refused else "")
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
        reason=error or rollout.reward.reason,
        turns=outcome.turns,
        tokens=rollout.prompt_tokens + rollout.completion_tokens,
        seconds=rollout.seconds,
        metrics=dict(rollout.reward.metrics),
        error=error,
        matched=rollout.reward.success,
        model=model,
        at_once=at_once,
        cost_usd=cost_usd,
        scenario=scenario.model_dump(mode="json"),
        outcome=TypeAdapter(type(outcome)).dump_python(outcome, mode="json"),
        messages=rollout.messages,
    )


class PolicySummary(BaseModel):
    """How one policy did in one mode.

    All but ``scenarios``, ``errors``, ``reasons`` and the cost are of the rollouts without an
    error; None where there is none.

    Args:
        source_accuracy: share of the right answers that cite a mail the answer stands in.
        seconds_p50, seconds_p99: of a rollout, while ``at_once`` of them ran.
        usd_per_1000: cost of 1,000 questions, failed ones included; None if nobody knows.
        errors: rollouts that say nothing about the policy, by reason.
    """

    scenarios: int
    success: float | None
    success_low: float | None
    success_high: float | None
    source_accuracy: float | None
    reward: float | None
    turns: float | None
    tokens: float | None
    seconds_p50: float | None
    seconds_p99: float | None
    usd_per_1000: float | None
    model: str
    at_once: int
    errors: dict[str, int]
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
    differences: dict[str, dict[Mode, dict[str, float]]] = {}
    for other, modes in by.items():
        if other == trained or trained not in by:
            continue
        differences[other] = {}
        for mode, old in modes.items():
            if (found := _difference(by[trained][mode], old, confidence)) is not None:
                differences[other][mode] = found.as_dict()
    policies = {
        label: {mode: _summary(found, confidence) for mode, found in modes.items()}
        for label, modes in by.items()
    }
    return Comparison(policies=policies, differences=differences, confidence=confidence)


def _difference(
    new: Sequence[EvaluationRow], old: Sequence[EvaluationRow], confidence: float
) -> Interval | None:
    """Over the scenarios where neither had an error; None if there is none."""
    if [row.scenario_id for row in new] != [row.scenario_id for row in old]:
        raise ValueError("the policies were not evaluated on the same scenarios")
    pairs = [(a, b) for a, b in zip(new, old, strict=True) if not a.error and not b.error]
    if not pairs:
        return None
    return paired_difference(
        [a.success for a, _ in pairs],
        [b.success for _, b in pairs],
        [a.cluster for a, _ in pairs],
        confidence,
    )


def _summary(rows: Sequence[EvaluationRow], confidence: float) -> PolicySummary:
    counted = [row for row in rows if not row.error]
    success = proportion([row.success for row in counted], confidence) if counted else None
    kinds: dict[str, list[bool]] = {}
    for row in counted:
        kinds.setdefault(row.kind, []).append(row.success)
    cited = [row.metrics["source_recall"] > 0 for row in counted
             if row.success and "source_recall" in row.metrics]  # fmt: skip
    asked = [row for row in rows if row.error != BUDGET]
    costs = [row.cost_usd for row in asked if row.cost_usd is not None]
    seconds = [row.seconds for row in counted]
    return PolicySummary(
        scenarios=len(rows),
        success=success.mean if success else None,
        success_low=success.low if success else None,
        success_high=success.high if success else None,
        source_accuracy=_mean(cited),
        reward=_mean([row.reward for row in counted]),
        turns=_mean([row.turns for row in counted]),
        tokens=_mean([row.tokens for row in counted]),
        seconds_p50=float(np.percentile(seconds, 50)) if seconds else None,
        seconds_p99=float(np.percentile(seconds, 99)) if seconds else None,
        usd_per_1000=1000 * fmean(costs) if counted and len(costs) == len(asked) else None,
        model=rows[0].model,
        at_once=rows[0].at_once,
        errors=dict(Counter(row.error for row in rows if row.error).most_common()),
        reasons=dict(Counter(row.reason for row in rows).most_common()),
        by_kind={kind: fmean(values) for kind, values in sorted(kinds.items())},
        metrics=means([row.metrics for row in counted]),
    )


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
