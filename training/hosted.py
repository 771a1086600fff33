"""Evaluate hosted models: the same agent, the same scenarios, another model behind it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from agent.failures import BUDGET
from agent.prompted import Endpoint, PromptedModel, Spending, check_endpoint
from agent.rollout import Limits, Rollout
from environment.base import Environment, Scenario
from training.config import EvaluatedModel, EvaluationConfig, RolloutConfig
from training.evaluation import EvaluationRow, Mode, row_of
from training.gather import gather_rollouts

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
) -> list[EvaluationRow]:
    """Run the model once on every scenario, at its own temperature; once ``spending`` is at its
    limit the others are not run, and their rows say so."""
    model = prompted_model(entry, environment, spending)
    try:
        rollouts = await gather_rollouts(
            model,
            environment,
            scenarios,
            hosted_limits(entry, config),
            seeds=[None] * len(scenarios),
            concurrency=entry.concurrency,
            on_done=on_done,
        )
    finally:
        await model.close()
    mode: Mode = "greedy" if entry.temperature == 0 else "sampled"
    at_once = min(entry.concurrency, len(scenarios))
    rows = [
        row_of(entry.name, mode, rollout, at_once, _cost_usd(model, rollout), entry.model or "")
        for rollout in rollouts
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
