"""Convert rollouts to ART trajectories with the exact tokens of every reply."""

from __future__ import annotations

from typing import Any

from openai.types.chat.chat_completion import Choice

from agent.rollout import Rollout
from backends.trajectory import ExactTrajectory
from environment.base import Environment


def to_trajectory(rollout: Rollout, environment: Environment[Any, Any]) -> ExactTrajectory:
    """The trajectory of a rollout. Its choices have ``token_ids`` and ``prompt_token_ids`` in addition to
    OpenAI's fields, for ``backends.packing``."""
    replies = iter(rollout.replies)
    messages: list[Any] = []
    for message in rollout.messages:
        if message["role"] == "assistant":
            body = next(replies)
            extra = {"prompt_token_ids": body.get("prompt_token_ids")}
            messages.append(Choice.model_validate(body["choices"][0] | extra))
        else:
            messages.append(message)
    return ExactTrajectory(
        messages_and_choices=messages,
        tools=list(environment.tool_schemas),
        reward=rollout.reward.value,
        metrics={
            **rollout.reward.metrics,
            "success": rollout.reward.success,
            "turns": rollout.outcome.turns,
            "completion_tokens": rollout.completion_tokens,
            "seconds": rollout.seconds,
        },
        metadata={
            "scenario_id": rollout.scenario.id,
            "stop": str(rollout.stop),
            "reason": rollout.reward.reason,
        },
    )
