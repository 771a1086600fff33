"""Run many rollouts of a policy at once, within a bound, and keep them in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from agent.model import ChatModel
from agent.rollout import Limits, Rollout, run_rollout, seed_from
from backends import PolicyHandle
from environment.base import Environment, Scenario
from training.config import RolloutConfig


def chat_model(
    policy: PolicyHandle,
    environment: Environment[Any, Any],
    config: RolloutConfig,
    step: int,
    temperature: float,
) -> ChatModel:
    """The policy of a checkpoint as the agent's model, its tokens captured."""
    return ChatModel(
        base_url=policy.endpoint.base_url,
        name=policy.inference_name(step),
        api_key=policy.endpoint.api_key,
        tools=environment.tool_schemas,
        temperature=temperature,
        max_tokens=config.max_reply_tokens,
        timeout_s=config.timeout_s,
        connections=config.concurrency,
        capture_tokens=True,
    )


def limits(config: RolloutConfig) -> Limits:
    return Limits(config.max_turns, config.max_tokens, config.timeout_s)


async def gather_rollouts(
    model: ChatModel,
    environment: Environment[Any, Any],
    scenarios: Sequence[Scenario],
    limits: Limits,
    *,
    seeds: Sequence[int | None],
    concurrency: int,
    on_done: Callable[[Rollout], None] | None = None,
) -> list[Rollout]:
    """One rollout per scenario (repeat a scenario for a group), in the order of ``scenarios``.

    Args:
        seeds: one per rollout; None leaves it to the server.
        on_done: called as each rollout ends, in whatever order they do.

    Raises:
        Exception: the first fault of the environment; the other rollouts are cancelled.
    """
    slots = asyncio.Semaphore(concurrency)

    async def one(scenario: Scenario, seed: int | None) -> Rollout:
        async with slots:
            rollout = await run_rollout(model, environment, scenario, limits, seed)
        if on_done:
            on_done(rollout)
        return rollout

    try:
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(one(scenario, seed))
                for scenario, seed in zip(scenarios, seeds, strict=True)
            ]
    except* Exception as group:  # noqa: BLE001 (raised on, without the task group around it)
        raise group.exceptions[0] from None
    return [task.result() for task in running]


async def gather_groups(
    model: ChatModel,
    environment: Environment[Any, Any],
    scenarios: Sequence[Scenario],
    limits: Limits,
    *,
    size: int,
    concurrency: int,
    seed: int,
    step: int,
) -> list[list[Rollout]]:
    """The groups of a training step: ``size`` rollouts of each scenario.

    Args:
        step: counted from 0; with ``seed`` it decides the seeds of the rollouts.
    """
    flat = await gather_rollouts(
        model,
        environment,
        [scenario for scenario in scenarios for _ in range(size)],
        limits,
        seeds=[seed_from(seed, step, i) for i in range(len(scenarios) * size)],
        concurrency=concurrency,
    )
    return [flat[start : start + size] for start in range(0, len(flat), size)]
