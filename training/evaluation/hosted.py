"""Evaluate hosted models: the same agent, the same scenarios, another model behind it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from agent.failures import BUDGET
from agent.hosted.connection import Connection, check_llm
from agent.hosted.ledger import Ledger, cost_usd
from agent.hosted.prompted import PromptedModel
from agent.rollout import Limits, Rollout
from environment.base import Environment, Scenario
from environment.language_model import LlmConfig
from training.config import EvaluatedModel, EvaluationConfig, RolloutConfig
from training.evaluation.evaluate import EvaluationRow, Mode, rollouts_of_each, row_of
from training.loop.gather import gather_rollouts

log = logging.getLogger(__name__)

# Of a whole conversation. Our own limit is what the trainer takes; a hosted model counts tokens of
# its own, and an agent that does not finish runs out of turns.
_MAX_TOKENS = 100_000
_ATTEMPTS = 7  # at one request: a comparison must outlast a rate limit


def check_hosted(config: EvaluationConfig) -> None:
    """
    Raises:
        LlmUnavailable: a model cannot be used; see ``check_llm``.
    """
    for entry in config.hosted:
        check_llm(_llm(entry).model_copy(update={"max_cost_usd": config.max_cost_usd}))


async def evaluate_hosted(
    entry: EvaluatedModel,
    environment: Environment[Any, Any],
    scenarios: Sequence[Scenario],
    config: RolloutConfig,
    ledger: Ledger,
    on_done: Callable[[Rollout], None] | None = None,
    samples: int = 1,
) -> list[EvaluationRow]:
    """Run the model on every scenario at its own temperature, ``samples`` times unless that is 0.
    Rollouts that the ledger's budget does not cover are not run, and their rows say so."""
    mode = mode_of(entry)
    played = [(s, n) for s in scenarios for n in range(rollouts_of_each(mode, samples))]
    model = prompted_model(entry, environment, ledger)
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
    rows = []
    for rollout, (_, sample) in zip(rollouts, played, strict=True):
        cost = _cost_usd(_llm(entry), rollout)
        rows.append(row_of(entry.name, mode, rollout, at_once, cost, entry.model or "", sample))
    cut_short = sum(row.error == BUDGET for row in rows)
    if cut_short:
        log.warning(
            "evaluation.max_cost_usd (%g) is spent: %d of %d rollouts of %s did not finish",
            *(ledger.limit_usd, cut_short, len(rows), entry.name),
        )
    return rows


def mode_of(entry: EvaluatedModel) -> Mode:
    return "greedy" if entry.temperature == 0 else "sampled"


def prompted_model(
    entry: EvaluatedModel, environment: Environment[Any, Any], ledger: Ledger
) -> PromptedModel:
    connection = Connection(_llm(entry), ledger, key=entry.api_key_env, attempts=_ATTEMPTS)
    return PromptedModel(connection, environment.tool_schemas, entry.temperature, entry.max_tokens)


def hosted_limits(entry: EvaluatedModel, config: RolloutConfig) -> Limits:
    return Limits(config.max_turns, _MAX_TOKENS, entry.timeout_s)


def _llm(entry: EvaluatedModel) -> LlmConfig:
    return LlmConfig.model_validate(entry.model_dump(include=set(LlmConfig.model_fields)))


def _cost_usd(config: LlmConfig, rollout: Rollout) -> float | None:
    """None if the cost of any reply is unknown."""
    costs = [cost_usd(config, reply.get("usage") or {}) for reply in rollout.replies]
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None
