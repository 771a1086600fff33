"""A worker's job: prepare the data, train, and evaluate."""

from __future__ import annotations

import asyncio
import math
import shutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backends import gpus
from environment.base import Environment, EnvironmentUnavailable
from service.data import is_shared, prepare, written_by_model
from service.evaluation import REPORT, evaluate
from service.folders import Folders
from service.plan import Plan
from service.store import Job, Store
from training.run.budget import Meter, charge
from training.run.run_log import STEP
from training.run.runner import RunOutput, run_training
from training.run.store import fingerprint

_EXAMPLES, _EVALUATION = "examples", "evaluation"


def train(job: Job, store: Store, folders: Folders) -> dict[str, Any]:
    """Start or continue a job. Returns a ``service.schemas.Result``.

    Raises:
        Interrupted: by a signal.
        OutdatedPlan: see there.
        UserError: see ``training.run.runner.run_training``.
    """
    work = _Work(job, Plan.read(store.plan(job.id)), store, folders)
    artifacts = work.data()
    with closing(_environment(work.plan, artifacts)) as environment:
        return asyncio.run(_train(work, environment, artifacts))


@dataclass(frozen=True, slots=True)
class _Work:
    job: Job
    plan: Plan
    store: Store
    folders: Folders

    def data(self) -> dict[str, Path]:
        """The artifacts of the job's environment. Reports once what a hosted model wrote."""
        job, store, folders = self.job, self.store, self.folders
        place = folders.environments if is_shared(self.plan) else folders.run(job.run) / "data"
        artifacts = prepare(self.plan, place)
        # Shared data is at the operator's expense.
        report = None if is_shared(self.plan) else written_by_model(self.plan, place)
        if report is not None and not job.step and store.last_event(job.id, _EXAMPLES) is None:
            charge(folders.training(job.run), report["cost_usd"] or 0.0)
            store.add_event(job.id, _EXAMPLES, report)
        return artifacts


async def _train(
    work: _Work, environment: Environment[Any, Any], artifacts: dict[str, Path]
) -> dict[str, Any]:
    job, plan, store, folders = work.job, work.plan, work.store, work.folders
    folder = folders.training(job.run)
    data = {name: fingerprint(path) for name, path in artifacts.items()}

    def on_step(record: dict[str, Any]) -> None:
        step = step_of(record, plan.training.max_steps)
        store.add_step(job.id, step["step"], step)

    output = await run_training(plan, folder, environment, data, watch=on_step)
    result = _result(output, job, folders)
    if plan.evaluation is None:
        return result
    # So that a job cancelled during the evaluation keeps its adapter.
    store.note_result(job.id, result)
    meter = Meter(plan.training.budget, gpus(plan.backend), folder)
    evaluation = await _evaluation(work, environment, result)
    meter.tick()
    return result | {"evaluation": evaluation, "spent": meter.spent()}


async def _evaluation(
    work: _Work, environment: Environment[Any, Any], result: dict[str, Any]
) -> dict[str, Any]:
    """Evaluates once per job: the result of an earlier worker is reused."""
    job, store, folders = work.job, work.store, work.folders
    if earlier := store.last_event(job.id, _EVALUATION):
        return earlier.data
    place = folders.job(job.run, job.id) / _EVALUATION
    title = f"{job.project}/{job.model_name}, step {result['step']}"
    adapter = folders.root / result["adapter"]
    evaluation = await evaluate(work.plan, environment, adapter, place, title)
    evaluation["report"] = str((place / REPORT).relative_to(folders.root))
    store.add_event(job.id, _EVALUATION, evaluation)
    return evaluation


def _environment(plan: Plan, artifacts: dict[str, Path]) -> Environment[Any, Any]:
    """Raises ``EnvironmentUnavailable`` if there is nothing to evaluate on."""
    environment = plan.open_environment(artifacts)
    if plan.evaluation and not environment.scenarios("test", 1):
        environment.close()
        raise EnvironmentUnavailable("there is no held-out scenario to evaluate on")
    return environment


def step_of(record: dict[str, Any], num_steps: int) -> dict[str, Any]:
    """Convert a step's record to a ``service.schemas.Step``."""
    numbers = {
        name: _finite(value)
        for name, value in record.items()
        if isinstance(value, int | float) and not name.startswith("data/step_num") and name != STEP
    }
    return {
        "step": record[STEP],
        "num_steps": num_steps,
        "metrics": numbers,
        "groups": {
            "submitted": record["data/step_num_groups_submitted"],
            "trainable": record["data/step_num_groups_trainable"],
            "trajectories": record["data/step_num_trajectories"],
            "trained": record["data/step_trained_trajectories"],
            "dropped": record["data/dropped"],
            "first_error": record["data/first_error"],
        },
    }


def _finite(value: float) -> float | None:
    """None for NaN and infinities, which JSON lacks."""
    return float(value) if math.isfinite(value) else None


def _result(output: RunOutput, job: Job, folders: Folders) -> dict[str, Any]:
    """Copies adapter and report, which the model's next job will overwrite."""
    place = folders.job(job.run, job.id)
    adapter, report = place / "adapter", place / "report.html"
    shutil.rmtree(adapter, ignore_errors=True)
    shutil.copytree(output.adapter, adapter)
    report.write_text(output.report, encoding="utf-8")
    result = output.result
    return {
        "step": result.step,
        "stopped_by": result.stopped_by,
        "spent": dict(result.spent),
        "adapter": str(adapter.relative_to(folders.root)),
        "report": str(report.relative_to(folders.root)),
    }
