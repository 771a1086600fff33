"""Greedy rollouts of a few held-out scenarios before and after a run, for its report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from backends import PolicyHandle
from environment.base import Environment
from environment.files import write_atomically
from training.evaluation.evaluate import roll_out
from training.loop.gather import chat_model, limits
from training.report import Sample
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
        cache: file that keeps the samples, so that a resumed run still shows the untrained policy.
    """
    if cache and cache.exists():
        return [Sample.model_validate_json(line) for line in cache.read_text().splitlines()]
    scenarios = environment.scenarios("test", _COUNT, spec.seed)
    step = await policy.step()
    rollouts = await roll_out(
        chat_model(policy, environment, spec.rollout, step, temperature=0.0),
        environment,
        scenarios,
        limits(spec.rollout),
        samples=1,
        concurrency=spec.rollout.concurrency,
        seed=spec.seed,
    )
    samples = [Sample.of(rollout) for rollout in rollouts]
    if cache:
        write_atomically(cache, "".join(s.model_dump_json() + "\n" for s in samples))
    return samples
