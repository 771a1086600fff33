"""``--dry-run rollouts``: the rollouts of a training run without training, with its policy or any other
model."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack, closing
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

from agent.hosted.ledger import Ledger
from agent.model import ChatModel
from backends import open_policy
from environment.base import Environment
from environment.registry import check_environment, environment_package
from pipelines.config import ProjectConfig
from pipelines.launch import Run
from pipelines.readiness import checks
from steps.model_versions import data_artifacts
from training.config import EvaluatedModel
from training.evaluation.hosted import check_hosted, hosted_limits, prompted_model
from training.loop.gather import chat_model, limits
from training.loop.rehearsal import RehearsedStep, rehearse
from training.run.store import write_trajectories


def preflight(
    config: ProjectConfig, model: str | None, base_url: str | None
) -> EvaluatedModel | None:
    """Check for problems. Returns the other model, if one is named.

    Raises:
        LlmUnavailable: it has no known provider or no key.
        BackendError, EnvironmentUnavailable: as in training.
    """
    if model is None:
        for run_check in checks(config, (), ("train_agent",)):
            run_check()
        return None
    check_environment(config.environment, config.rollout.max_turns)
    entry = EvaluatedModel(
        name="model",
        model=model,
        api_base=base_url,
        max_tokens=config.rollout.max_reply_tokens,
        timeout_s=config.rollout.timeout_s,
        concurrency=config.rollout.concurrency,
    )
    check_hosted(config.evaluation.model_copy(update={"models": (entry,)}))
    return entry


def run_rehearsal(run: Run, entry: EvaluatedModel | None, show: Callable[[str], None]) -> None:
    """Run the rollouts, and show a line per step and the totals.

    Raises:
        MissingArtifact: the environment has no data yet.
        Interrupted: by a signal.
    """
    config = run.config
    package = environment_package(config.environment.name)
    artifacts = {k: v.load() for k, v in data_artifacts(config.environment.name).items()}
    name = entry.model if entry else config.backend.base_model
    show(f"rollouts of {name}; nothing is trained")
    done: list[RehearsedStep] = []
    started = time.monotonic()

    def on_step(step: RehearsedStep) -> None:
        done.append(step)
        write_trajectories(run.folder / "trajectories", step.step, step.groups)
        show(_line(step, config.training.max_steps))

    with closing(
        package.open(artifacts, config.environment, config.rollout.max_turns)
    ) as environment:
        asyncio.run(_rehearse(run, environment, entry, on_step))
    run.summary["seconds"]["train"] = round(time.monotonic() - started, 1)
    rollouts = [rollout for step in done for rollout in step.rollouts]
    counted = [rollout for step in done for rollout in step.counted]
    solved = sum(step.solved for step in done)
    reasons = sum((step.reasons for step in done), Counter[str]())
    run.summary["rollouts"] = {
        "model": name,
        "count": len(rollouts),
        "solved": solved,
        "reward": fmean(r.reward.value for r in counted) if counted else None,
        "reasons": dict(reasons.most_common()),
    }
    if rollouts:
        endings = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        share = f"{solved / len(counted):.1%}" if counted else "none counts"
        show(f"{len(rollouts)} rollouts, {solved} solved ({share}): {endings}")


async def _rehearse(
    run: Run,
    environment: Environment[Any, Any],
    entry: EvaluatedModel | None,
    on_step: Callable[[RehearsedStep], None],
) -> None:
    config = run.config
    async with AsyncExitStack() as stack:
        model: ChatModel
        if entry is not None:
            model = prompted_model(entry, environment, Ledger(config.evaluation.max_cost_usd))
            bounds, concurrency = hosted_limits(entry, config.rollout), entry.concurrency
        else:
            path = stack.enter_context(TemporaryDirectory(prefix="art-rl-"))
            policy = await stack.enter_async_context(
                await open_policy(
                    config.backend,
                    project=config.project,
                    name=run.name,
                    path=Path(path),
                    seed=run.seed,
                )
            )
            step = await policy.step()
            model = chat_model(policy, environment, config.rollout, step, temperature=1.0)
            bounds, concurrency = limits(config.rollout), config.rollout.concurrency
        stack.push_async_callback(model.close)
        await rehearse(model, environment, config.training, bounds, concurrency, run.seed, on_step)


def _line(step: RehearsedStep, steps: int) -> str:
    count, failed = len(step.counted), len(step.rollouts) - len(step.counted)
    if step.reward is None:
        return f"step {step.step} of {steps}: all {failed} rollouts failed, {step.seconds:.1f} s"
    return (
        f"step {step.step} of {steps}: reward {step.reward:.3f}, success {step.solved / count:.1%} "
        f"({step.solved} of {count}{f', {failed} failed' if failed else ''}), "
        f"{step.informative} of {len(step.groups)} groups differ, {step.seconds:.1f} s"
    )
