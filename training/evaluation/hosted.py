"""Evaluate hosted models: the same agent, the same scenarios, another model behind it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from agent.failures import BUDGET
from agent.hosted.prompted import Endpoint, PromptedModel, Spending, check_endpoint
from agent.rollout import Limits, Rollout
from environment.base import Environment, Scenario
from training.config import EvaluatedModel, EvaluationConfig, RolloutConfig
from training.evaluation.evaluate import EvaluationRow, Mode, rollouts_of_each, row_of
from training.loop.gather import gather_rollouts

log = logging.getLogger(__name__)

# Of a whole conversation. Ours is bounded by what the trainer takes; a hosted model counts in
# tokens of its own, and an agent that is slow to come to an end runs out of turns.
_MAX_TOKENS = 100_000


def check_hosted(config: EvaluationConfig) -> None:
    """
    Raises:
        LlmUnavailable: a model cannot be asked; see ``check_endpoint``.
    """
    for entry in config.hosted:
        check_endpoint(_endpoint(entry), priced=config.max_cost_usd is not None)


async def evaluate_hosted(
    entry: EvaluatedModel,
    environment: Environment[Any, Any],
    scenarios: Sequence[Scenario],
    config: RolloutConfig,
    spending: Spending,
    on_done: Callable[[Rollout], None] | None = None,
    samples: int = 1,
) -> list[EvaluationRow]:
    """Run the model on every scenario at its own temperature, ``samples`` times if that is not 0;
    once ``spending`` is at its limit the others are not run, and their rows say so."""
    mode = mode_of(entry)
    played = [(s, n) for s in scenarios for n in range(rollouts_of_each(mode, samples))]
    model = prompted_model(entry, environment, spending)
    try:
        rollouts = await gather_rollouts(
            model,
            environment,
            [scenario for scenario, _ in played],
            hosted_limits(entry, config),
            seeds=[None] * len(played),
            concurrency=entry.concurrency,
            on_done=on_done,
        )
    finally:
        await model.close()
    at_once = min(entry.concurrency, len(played))
    rows = [
        row_of(
            entry.name,
            mode,
            rollout,
            at_once,
            _cost_usd(model, rollout),
            entry.model or "",
            sample,
        )
        for rollout, (_, sample) in zip(rollouts, played, strict=True)
    ]
    unasked = sum(row.error == BUDGET for row in rows)
    if unasked:
        log.warning(
            "evaluation.max_cost_usd (%g) is spent: %d of %d rollouts of %s were not run to their "
            "end",
            spending.limit_usd,
            unasked,
            len(rows),
            entry.name,
        )
    return rows


def mode_of(entry: EvaluatedModel) -> Mode:
    return "greedy" if entry.temperature == 0 else "sampled"


def prompted_model(
    entry: EvaluatedModel, environment: Environment[Any, Any], spending: Spending
) -> PromptedModel:
    return PromptedModel(
        _endpoint(entry),
        spending,
        tools=environment.tool_schemas,
        temperature=entry.temperature,
        max_tokens=entry.max_tokens,
        timeout_s=entry.timeout_s,
        connections=entry.concurrency,
    )


def hosted_limits(entry: EvaluatedModel, config: RolloutConfig) -> Limits:
    return Limits(config.max_turns, _MAX_TOKENS, entry.timeout_s)


def _endpoint(entry: EvaluatedModel) -> Endpoint:
    assert entry.model is not None
    prices = entry.usd_per_million_in, entry.usd_per_million_out
    return Endpoint(
        model=entry.model,
        api_base=entry.api_base,
        api_key_env=entry.api_key_env,
        usd_per_million=None if prices[0] is None or prices[1] is None else (prices[0], prices[1]),
    )


def _cost_usd(model: PromptedModel, rollout: Rollout) -> float | None:
    """None if the cost of any reply is unknown."""
    costs = [model.cost_usd(reply.get("usage") or {}) for reply in rollout.replies]
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None
