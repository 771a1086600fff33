"""Run rollouts concurrently, up to a limit, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from itertools import starmap
from typing import Any, TypeVar

from agent.model import ChatModel
from agent.rollout import Limits, Rollout, run_rollout, seed_from
from backends import PolicyHandle
from environment.base import Environment, Scenario
from training.config import RolloutConfig

T = TypeVar("T")


def chat_model(
    policy: PolicyHandle,
    environment: Environment[Any, Any],
    config: RolloutConfig,
    step: int,
    temperature: float,
) -> ChatModel:
    """The agent's model over a checkpoint of the policy, capturing tokens."""
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
        on_done: called as each rollout ends, in order of completion.

    Raises:
        Exception: the first error of the environment; the other rollouts are cancelled.
    """
    slots = asyncio.Semaphore(concurrency)

    async def one(scenario: Scenario, seed: int | None) -> Rollout:
        async with slots:
            rollout = await run_rollout(model, environment, scenario, limits, seed)
        if on_done:
            on_done(rollout)
        return rollout

    return await run_all(starmap(one, zip(scenarios, seeds, strict=True)))


async def run_all(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results in order.

    Raises:
        Exception: the first error, which cancels the rest; not wrapped in an ExceptionGroup.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except* Exception as errors:  # noqa: BLE001 (raised again)
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


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
    """The groups of a training step: ``size`` rollouts per scenario.

    Args:
        seed, step: determine the seeds of the rollouts; steps count from 0.
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
