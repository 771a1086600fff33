"""A whole training run in a folder: what the pipeline step calls, and a script could."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from agent.hosted.llm import LanguageModel
from agent.judge import JudgeConfig, RulerJudge
from agent.rollout import seed_from
from backends import BackendConfig, PolicyHandle, gpus, open_policy
from environment.base import Environment, EnvironmentUnavailable, Scenario
from training.config import RolloutConfig, TrainingConfig
from training.evaluation.evaluate import evaluate_policy
from training.loop.gather import chat_model, gather_rollouts, limits
from training.loop.loop import TrainingResult, TrainingRun, train_policy
from training.report import Sample, training_report
from training.run.budget import Meter, check_prices, why_stopped
from training.run.files import write_atomically
from training.run.progress import TrainingProgress
from training.run.run_log import Record, RunLog
from training.run.store import (
    PolicyRecord,
    base_fingerprint,
    claim,
    export_adapter,
    resume_files,
    write_trajectories,
)
from training.run.tracking import Tracker

log = logging.getLogger(__name__)

_SAMPLES = 3
INEXACT_TOKENS = (
    "The backend %s tokenises the conversations anew to train on them. Whether those are the tokens "
    "that were sampled cannot be seen from here, so there is no probs_corr to watch either."
)
# May change between the attempts of a run without making it another run.
_FREE_SETTINGS = {"max_steps", "budget", "empty_steps_limit", "keep_checkpoints", "min_probs_corr"}
_JUDGES_SCORES = {"model", "api_base", "window_tokens", "second_order_share"}


def lasting(training: TrainingConfig, judge: JudgeConfig) -> dict[str, Any]:
    """Of a run's settings, those of training and judge that must stay the same for it to continue."""
    settings = {"training": training.model_dump(exclude=_FREE_SETTINGS)}
    if training.reward == "ruler":
        settings["judge"] = judge.model_dump(include=_JUDGES_SCORES)
    return settings


@dataclass(frozen=True, slots=True)
class RunSpec:
    """Everything a training run depends on.

    Args:
        environment: its settings.
        data: digests of its artifacts, by name.
    """

    project: str
    name: str
    folder: Path
    seed: int
    backend: BackendConfig
    training: TrainingConfig
    rollout: RolloutConfig
    environment: dict[str, Any]
    data: dict[str, str]
    judge: JudgeConfig = field(default_factory=JudgeConfig)

    def settings(self) -> dict[str, Any]:
        """What must stay the same for the run to continue."""
        return lasting(self.training, self.judge) | {
            "seed": self.seed,
            "backend": self.backend.model_dump(),
            "base_fingerprint": base_fingerprint(self.backend.base_model),
            "rollout": self.rollout.model_dump(),
            "environment": self.environment,
            "data": self.data,
        }


@dataclass(frozen=True, slots=True)
class RunOutput:
    """What a run leaves: its adapter, its report, its trajectories, and how it went."""

    adapter: Path
    trajectories: Path
    report: str
    result: TrainingResult


async def run_training(
    spec: RunSpec,
    environment: Environment[Any, Any],
    save: Callable[[int, Sequence[Path]], None] | None = None,
    watch: Callable[[Record], None] | None = None,
) -> RunOutput:
    """Train, or continue, the run of ``spec.folder``.

    Args:
        save: called after each step with the files of the folder that the run continues from.
        watch: called with each step's record, those of earlier attempts first.

    Raises:
        EnvironmentUnavailable: there is neither a judge nor a reward of the environment's own.
        RunMismatch: the folder holds a run with other settings.
        BackendError: the backend cannot run as configured.
        UnknownPrice: there is a budget in dollars, and no price.
        EmptySteps: there was nothing to train on, several steps in a row.
        Interrupted: the process was asked to stop.
    """
    if spec.training.reward == "verifiable" and not environment.has_reward:
        raise EnvironmentUnavailable(
            f"training.reward is verifiable, but {environment.name} as configured has no reward of "
            "its own: set environment.verifier, or training.reward: ruler"
        )
    check_prices(spec.training.budget, spec.backend, gpus(spec.backend))
    spec.folder.mkdir(parents=True, exist_ok=True)
    claim(spec.folder, spec.settings())
    meter = Meter(spec.training.budget, gpus(spec.backend), spec.folder)
    tracker = Tracker(spec.project, spec.name, spec.settings(), spec.folder)
    trajectories = spec.folder / "trajectories"
    policy = await open_policy(
        spec.backend,
        project=spec.project,
        name=spec.name,
        path=spec.folder / "art",
        seed=spec.seed,
    )
    async with policy:
        if not policy.exact_tokens:
            log.warning(INEXACT_TOKENS, spec.backend.kind)
        start = await policy.step()
        if start:
            log.info("continuing after step %d", start)
        before = await _samples(spec, policy, environment, spec.folder / "samples_before.json")
        progress = TrainingProgress(spec.training.max_steps, start)

        def on_step(record: Record) -> None:
            tracker.log(record)
            progress.on_step(record)
            if watch:
                watch(record)

        def on_done(step: int) -> None:
            if save:
                save(step, resume_files(spec.folder, policy.checkpoint(step)))

        run = TrainingRun(
            policy=policy,
            environment=environment,
            config=spec.training,
            rollout=spec.rollout,
            seed=spec.seed,
            folder=spec.folder,
            run_log=RunLog(spec.folder),
            on_step=on_step,
            on_groups=lambda step, groups: write_trajectories(trajectories, step, groups),
            on_done=on_done,
            evaluate=lambda: _validate(spec, policy, environment),
            judge=_judge(spec),
            meter=meter,
        )
        try:
            result = await train_policy(run)
        finally:
            progress.close()
            tracker.close()
        after = await _samples(spec, policy, environment, None)
        record = PolicyRecord(
            base_model=spec.backend.base_model,
            base_fingerprint=base_fingerprint(spec.backend.base_model),
            lora_rank=spec.backend.lora.rank,
            step=result.step,
            run=spec.name,
            seed=spec.seed,
            data=spec.data,
        )
        adapter = export_adapter(
            await policy.fetch_adapter(result.step), record, spec.folder / "adapter"
        )
    report = training_report(
        f"Training run {spec.name}",
        result.records,
        before,
        after,
        spec.settings(),
        [
            why_stopped(result.stopped_by, spec.training.budget, result.spent),
            *([] if policy.exact_tokens else [INEXACT_TOKENS % spec.backend.kind]),
        ],
    )
    (spec.folder / "report.html").write_text(report, encoding="utf-8")
    return RunOutput(adapter, trajectories, report, result)


def _judge(spec: RunSpec) -> RulerJudge | None:
    if spec.training.reward == "verifiable":
        return None
    return RulerJudge(LanguageModel(spec.judge, spec.folder / "judge"), spec.judge)


async def _validate(
    spec: RunSpec, policy: PolicyHandle, environment: Environment[Any, Any]
) -> Record:
    """Sampled success on held-out scenarios, to look at; nothing is selected by it."""
    scenarios = environment.scenarios("test", spec.training.eval_scenarios, spec.seed)
    rows = await evaluate_policy(
        "policy", policy, environment, scenarios, spec.rollout, spec.seed, modes=("sampled",)
    )
    return {
        "val/success": fmean(row.success for row in rows),
        "val/reward": fmean(row.reward for row in rows),
    }


async def _samples(
    spec: RunSpec,
    policy: PolicyHandle,
    environment: Environment[Any, Any],
    cache: Path | None,
) -> list[Sample]:
    """Greedy rollouts of a few held-out scenarios. With ``cache``, those taken before are kept: a
    resumed run shows the policy as it was before its first step."""
    if cache and cache.exists():
        return [Sample.model_validate_json(line) for line in cache.read_text().splitlines()]
    scenarios: Sequence[Scenario] = environment.scenarios("test", _SAMPLES, spec.seed)
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
