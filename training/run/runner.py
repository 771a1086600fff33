"""A complete training run in a folder, as the pipeline step and the training service call it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from agent.hosted.llm import LanguageModel
from agent.judge import RulerJudge
from backends import PolicyHandle, gpus, open_policy
from environment.base import Environment, EnvironmentUnavailable
from training.evaluation.evaluate import evaluate_policy
from training.loop.loop import TrainingResult, TrainingRun, train_policy
from training.report import training_report
from training.run.budget import Meter, check_prices, why_stopped
from training.run.progress import TrainingProgress
from training.run.run_log import Record, RunLog
from training.run.samples import greedy_samples
from training.run.store import (
    PolicyRecord,
    base_fingerprint,
    claim,
    export_adapter,
    resume_files,
    write_trajectories,
)
from training.run.tracking import Tracker
from training.spec import RunSpec

log = logging.getLogger(__name__)

INEXACT_TOKENS = (
    "The backend %s retokenises the conversations for training. Whether it trains on the sampled tokens "
    "cannot be checked from here, and there is no probs_corr."
)


@dataclass(frozen=True, slots=True)
class RunOutput:
    """The files and the result of a run."""

    adapter: Path
    trajectories: Path
    report: str
    result: TrainingResult


async def run_training(
    spec: RunSpec,
    folder: Path,
    environment: Environment[Any, Any],
    data: Mapping[str, str],
    save: Callable[[int, Sequence[Path]], None] | None = None,
    watch: Callable[[Record], None] | None = None,
) -> RunOutput:
    """Start or continue the run in ``folder``.

    Args:
        data: digests of the environment's artifacts, by name.
        save: called after each step with the files from which the run can be continued.
        watch: called with each step's record, those of earlier attempts first.

    Raises:
        EnvironmentUnavailable: there is neither a judge nor a reward of the environment's own.
        RunMismatch, UnknownPrice, Mismatch, EmptySteps: see there.
        BackendError: the backend cannot run as configured.
        Interrupted: by a signal.
    """
    _check(spec, environment)
    base = base_fingerprint(spec.backend.base_model)
    settings = spec.lasting() | {"base_fingerprint": base, "data": dict(data)}
    folder.mkdir(parents=True, exist_ok=True)
    claim(folder, settings)
    run = _Run(spec, folder, environment, Meter(spec.training.budget, gpus(spec.backend), folder))
    art = folder / "art"
    async with await open_policy(
        spec.backend, project=spec.project, name=spec.name, path=art, seed=spec.seed
    ) as policy:
        before = await greedy_samples(spec, policy, environment, folder / "samples_before.json")
        with closing(Tracker(spec.project, spec.name, settings, folder)) as tracker:
            result = await run.train(policy, tracker, save, watch)
        after = await greedy_samples(spec, policy, environment)
        chat_format = policy.chat_format()
        record = PolicyRecord(
            base_model=spec.backend.base_model,
            base_fingerprint=base,
            lora_rank=spec.backend.lora.rank,
            step=result.step,
            run=spec.name,
            seed=spec.seed,
            data=dict(data),
        )
        weights = await policy.fetch_adapter(result.step)
        adapter = export_adapter(weights, record, folder / "adapter")
    notes = [why_stopped(result.stopped_by, spec.training.budget, result.spent)]
    if not policy.exact_tokens:
        notes.append(INEXACT_TOKENS % spec.backend.kind)
    if chat_format:
        notes.append(f"The base model: {'; '.join(chat_format)}.")
    title = f"Training run {spec.name}"
    report = training_report(
        title, result.records, before, after, settings, notes, environment.verdicts
    )
    (folder / "report.html").write_text(report, encoding="utf-8")
    return RunOutput(adapter, run.trajectories, report, result)


def _check(spec: RunSpec, environment: Environment[Any, Any]) -> None:
    if spec.training.reward == "verifiable" and not environment.has_reward:
        raise EnvironmentUnavailable(
            f"training.reward is verifiable, but {environment.name} as configured has no reward of "
            "its own: set environment.verifier, or training.reward: ruler"
        )
    check_prices(spec.training.budget, spec.backend, gpus(spec.backend))


@dataclass(frozen=True, slots=True)
class _Run:
    spec: RunSpec
    folder: Path
    environment: Environment[Any, Any]
    meter: Meter

    @property
    def trajectories(self) -> Path:
        return self.folder / "trajectories"

    async def train(
        self,
        policy: PolicyHandle,
        tracker: Tracker,
        save: Callable[[int, Sequence[Path]], None] | None,
        watch: Callable[[Record], None] | None,
    ) -> TrainingResult:
        spec, start = self.spec, await policy.step()
        if not policy.exact_tokens:
            log.warning(INEXACT_TOKENS, spec.backend.kind)
        if start:
            log.info("continuing after step %d", start)

        def on_step(record: Record) -> None:
            tracker.log(record)
            progress.on_step(record)
            if watch:
                watch(record)

        def on_done(step: int) -> None:
            if save:
                save(step, resume_files(self.folder, policy.checkpoint(step)))

        with closing(TrainingProgress(spec.training.max_steps, start)) as progress:
            return await train_policy(
                TrainingRun(
                    policy=policy,
                    environment=self.environment,
                    config=spec.training,
                    rollout=spec.rollout,
                    seed=spec.seed,
                    folder=self.folder,
                    run_log=RunLog(self.folder),
                    on_step=on_step,
                    on_groups=lambda step, g: write_trajectories(self.trajectories, step, g),
                    on_done=on_done,
                    evaluate=lambda: self._validate(policy),
                    judge=self._judge(),
                    meter=self.meter,
                )
            )

    def _judge(self) -> RulerJudge | None:
        if self.spec.training.reward == "verifiable":
            return None
        judge = self.spec.judge
        return RulerJudge(LanguageModel(judge, self.folder / "judge"), judge)

    async def _validate(self, policy: PolicyHandle) -> Record:
        """Sampled success on held-out scenarios. Only reported: nothing is selected by it."""
        spec = self.spec
        scenarios = self.environment.scenarios("test", spec.training.eval_scenarios, spec.seed)
        rows = await evaluate_policy(
            "policy",
            policy,
            self.environment,
            scenarios,
            spec.rollout,
            spec.seed,
            modes=("sampled",),
        )
        return {
            "val/success": fmean(row.success for row in rows),
            "val/reward": fmean(row.reward for row in rows),
        }
