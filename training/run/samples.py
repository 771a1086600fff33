"""Greedy rollouts of a few held-out scenarios, before and after a run, for its report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agent.rollout import seed_from
from backends import PolicyHandle
from environment.base import Environment
from training.loop.gather import chat_model, gather_rollouts, limits
from training.report import Sample
from training.run.files import write_atomically
from training.spec import RunSpec

_COUNT = 3


async def greedy_samples(
    spec: RunSpec,
    policy: PolicyHandle,
    environment: Environment[Any, Any],
    cache: Path | None = None,
) -> list[Sample]:
    """
    Args:
        cache: samples kept in this file are returned as they are, so that a resumed run shows the
            policy as it was before its first step.
    """
    if cache and cache.exists():
        return [Sample.model_validate_json(line) for line in cache.read_text().splitlines()]
    scenarios = environment.scenarios("test", _COUNT, spec.seed)
    step = await policy.step()
    model = chat_model(policy, environment, spec.rollout, step, temperature=0.0)
    try:
        rollouts = await gather_rollouts(
            model,
            environment,
            scenarios,
            limits(spec.rollout),
            seeds=[seed_from(spec.seed, s.id) for s in scenarios],
            concurrency=spec.rollout.concurrency,
        )
    finally:
        await model.close()
    samples = [Sample.of(rollout) for rollout in rollouts]
    if cache:
        write_atomically(cache, "".join(s.model_dump_json() + "\n" for s in samples))
    return samples
