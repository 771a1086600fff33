"""What a worker does for its job: make the data, train, and compare what came of it."""

from __future__ import annotations

import asyncio
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backends import gpus
from environment.base import Environment, EnvironmentUnavailable
from service.data import is_shared, prepare, written_by_model
from service.evaluation import REPORT, evaluate
from service.folders import Folders
from service.outdated import read_stored
from service.plan import Plan
from service.store import Job, Store
from training.run.budget import Meter, charge
from training.run.run_log import STEP
from training.run.runner import RunOutput, run_training
from training.run.store import fingerprint

_EXAMPLES, _EVALUATION = "examples", "evaluation"


def train(job: Job, store: Store, folders: Folders) -> dict[str, Any]:
    """Train, or continue; the ``service.schemas.Result``.

    Raises:
        Interrupted: the process was asked to stop.
        OutdatedPlan: the job was planned by another version of the service.
        UserError: see ``training.run.runner.run_training``.
    """
    work = _Work(job, read_stored(Plan, store.plan(job.id)), store, folders)
    artifacts = work.data()
    environment = _environment(work.plan, artifacts)
    try:
        return asyncio.run(_train(work, environment, artifacts))
    finally:
        environment.close()


@dataclass(frozen=True, slots=True)
class _Work:
    """A job, and all that it is done with."""

    job: Job
    plan: Plan
    store: Store
    folders: Folders

    def data(self) -> dict[str, Path]:
        """The files of the job's environment; what it took to write them is told once."""
        job, store, folders = self.job, self.store, self.folders
        place = folders.environments if is_shared(self.plan) else folders.run(job.run) / "data"
        artifacts = prepare(self.plan, place)
        # For what all jobs share, whoever runs the service pays.
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
    # Whoever cancels now still gets what was trained.
    store.note_result(job.id, result)
    meter = Meter(plan.training.budget, gpus(plan.backend), folder)
    found = await _evaluation(work, environment, result)
    meter.tick()
    return result | {"evaluation": found, "spent": meter.spent()}


async def _evaluation(
    work: _Work, environment: Environment[Any, Any], result: dict[str, Any]
) -> dict[str, Any]:
    """Once: what an earlier worker of the job found stands."""
    job, store, folders = work.job, work.store, work.folders
    if told := store.last_event(job.id, _EVALUATION):
        return told.data
    place = folders.job(job.run, job.id) / _EVALUATION
    title = f"{job.project}/{job.model_name}, step {result['step']}"
    found = await evaluate(work.plan, environment, folders.root / result["adapter"], place, title)
    found["report"] = str((place / REPORT).relative_to(folders.root))
    store.add_event(job.id, _EVALUATION, found)
    return found


def _environment(plan: Plan, artifacts: dict[str, Path]) -> Environment[Any, Any]:
    """
    Raises:
        EnvironmentUnavailable: its data is not enough for what is to be done.
    """
    environment = plan.open_environment(artifacts)
    if plan.evaluation and not environment.scenarios("test", 1):
        environment.close()
        raise EnvironmentUnavailable("there is no held-out scenario to evaluate on")
    return environment


def step_of(record: dict[str, Any], num_steps: int) -> dict[str, Any]:
    """A step's record as the data of its event: ``service.schemas.Step``."""
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
    """JSON has no other numbers."""
    return float(value) if math.isfinite(value) else None


def _result(output: RunOutput, job: Job, folders: Folders) -> dict[str, Any]:
    """Adapter and report are copied: the next job of the model writes its own in their place."""
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
