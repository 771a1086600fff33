"""Evaluate policies on the same held-out scenarios, greedy and sampled.

Sampled success (temperature 1) is what reinforcement learning optimises and what promotion depends on;
greedy success (temperature 0) is what a deployment would show.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

from pydantic import BaseModel, TypeAdapter

from agent.failures import REFUSED, is_refusal
from agent.model import ChatModel
from agent.rollout import Limits, Rollout, seed_from
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
        sample: index among the rollouts of its scenario.
        error: one word for why the rollout is excluded: the model server failed or refused, the budget
            was spent, the judge gave no verdict. Empty if it counts.
        seconds: of the whole rollout, including tools, with ``at_once`` running concurrently.
        cost_usd: None if unknown.
        matched: the environment's verdict, which is ``success`` unless a judge decides.
        judged: the judge's verdict, if any.
        scenario, outcome, messages: what rescoring needs.
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
        samples: sampled rollouts per scenario.
        usd_per_hour: price of the machine; each rollout is charged an equal share of the time.
    """
    step = await policy.step()
    rows: list[EvaluationRow] = []
    for mode in modes:
        model = chat_model(policy, environment, config, step, _TEMPERATURE[mode])
        started = time.monotonic()
        rollouts = await roll_out(
            model,
            environment,
            scenarios,
            limits(config),
            samples=rollouts_of_each(mode, samples),
            concurrency=config.concurrency,
            seed=seed,
            on_done=on_done,
        )
        hours = (time.monotonic() - started) / 3600
        cost = None if usd_per_hour is None else usd_per_hour * hours / len(rollouts)
        at_once = min(config.concurrency, len(rollouts))
        rows += [
            row_of(
                label, mode, rollout, at_once, cost, sample=index % rollouts_of_each(mode, samples)
            )
            for index, rollout in enumerate(rollouts)
        ]
    return rows


async def roll_out(
    model: ChatModel,
    environment: Environment[Any, Any],
    scenarios: Sequence[Scenario],
    limits: Limits,
    *,
    samples: int,
    concurrency: int,
    seed: int | None,
    on_done: Callable[[Rollout], None] | None = None,
) -> list[Rollout]:
    """``samples`` rollouts of each scenario, in order. Closes the model.

    Args:
        seed: None leaves the rollouts' seeds to the server.
    """
    runs = [(scenario, sample) for scenario in scenarios for sample in range(samples)]
    try:
        return await gather_rollouts(
            model,
            environment,
            [scenario for scenario, _ in runs],
            limits,
            seeds=[None if seed is None else sample_seed(seed, s.id, n) for s, n in runs],
            concurrency=concurrency,
            on_done=on_done,
        )
    finally:
        await model.close()


def rollouts_of_each(mode: Mode, samples: int) -> int:
    """Rollouts per scenario; one if greedy, which is deterministic."""
    return samples if mode == "sampled" else 1


def sample_seed(seed: int, scenario_id: str, sample: int) -> int:
    """The seed of a rollout; that of sample 0 does not depend on the number of samples."""
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
