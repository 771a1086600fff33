"""Evaluate hosted models with the same agent on the same scenarios."""

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
from training.evaluation.evaluate import EvaluationRow, Mode, roll_out, rollouts_of_each, row_of

log = logging.getLogger(__name__)

# Of a conversation. rollout.max_tokens is the trainer's limit, in tokens of another tokenizer; an agent
# that does not finish runs out of turns.
_MAX_TOKENS = 100_000
_ATTEMPTS = 7  # per request, to outlast rate limits


def check_hosted(config: EvaluationConfig) -> None:
    """Raises ``LlmUnavailable``, see ``check_llm``."""
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
    """Run the model on every scenario, ``samples`` times unless its temperature is 0. Once the ledger's
    budget is spent, the remaining rows have the error ``agent.failures.BUDGET``."""
    mode = mode_of(entry)
    samples = rollouts_of_each(mode, samples)
    rollouts = await roll_out(
        prompted_model(entry, environment, ledger),
        environment,
        scenarios,
        hosted_limits(entry, config),
        samples=samples,
        concurrency=entry.concurrency,
        seed=None,
        on_done=on_done,
    )
    at_once = min(entry.concurrency, len(rollouts))
    rows = []
    for index, rollout in enumerate(rollouts):
        cost, sample = _cost_usd(_llm(entry), rollout), index % samples
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
