"""Work on one job: ``python -m service.worker --data FOLDER --job ID``.

The worker holds the lock of its job's run for as long as it lives, and tells what it does through
the database alone: it goes on when the service dies, and another service finds it by its lock. Asked
to stop (SIGTERM, or a cancellation that it reads in the database) it finishes or abandons its step.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import math
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from service.folders import Folders, lacks_room
from service.locks import LockHeld, holding
from service.redaction import log_to_stderr, redact
from service.states import Status
from service.store import Job, NoSuchJob, Store

if TYPE_CHECKING:
    from environment.base import Environment
    from service.plan import Plan
    from training.runner import RunOutput

log = logging.getLogger(__name__)

ALREADY_WORKED_ON = 75  # EX_TEMPFAIL
_LOOK_EVERY_S = 0.5
_LOCK_PATIENCE_S = 2.0
_MAX_WARNINGS = 200
TRAINING, EXAMPLES = "training", "examples"
_PACKAGES = ("agent", "backends", "environment", "training")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the service's data folder")
    parser.add_argument("--job", required=True, help="its id")
    arguments = parser.parse_args()
    log_to_stderr(os.environ.get("LOG_LEVEL", "info"))
    folders = Folders(arguments.data)
    store = Store(folders.database)
    try:
        # Before anything slow: whoever comes second must see it.
        with holding(folders.lock(store.job(arguments.job).run), _LOCK_PATIENCE_S):
            job = store.job(arguments.job)
            if job.status is Status.RUNNING:
                work(job, store, folders)
    except LockHeld as error:
        log.warning("%s", error)
        return ALREADY_WORKED_ON
    except NoSuchJob as error:
        log.info("%s", error)
    return 0


def work(job: Job, store: Store, folders: Folders) -> None:
    """Bring the job to its end, or to where another worker can go on."""
    threading.Thread(target=_watch, args=(store, job.id), name="watch", daemon=True).start()
    # Heavy, and not needed to see that the job is taken.
    from agent.llm import LlmFailed, LlmUnavailable
    from backends import BackendError
    from environment.base import EnvironmentUnavailable, WorldFailed
    from environment.code.sources import ProblemError
    from environment.email_search.scenarios import ScenarioError
    from environment.email_search.sources import SourceError
    from service.outdated import OutdatedPlan, read_stored
    from service.plan import Plan
    from training.budget import UnknownPrice
    from training.loop import EmptySteps
    from training.signals import Interrupted
    from training.store import RunMismatch

    told = _Warnings(store, job.id)
    for package in _PACKAGES:
        logging.getLogger(package).addHandler(told)
    try:
        result = _train(job, read_stored(Plan, store.plan(job.id)), store, folders)
    except Interrupted as stopped:
        if store.job(job.id).cancelling:
            store.end(job.id, Status.CANCELLED)
        else:
            log.info("%s", stopped)
    except (
        BackendError,
        EmptySteps,
        EnvironmentUnavailable,
        LlmFailed,
        LlmUnavailable,
        OutdatedPlan,
        ProblemError,
        RunMismatch,
        ScenarioError,
        SourceError,
        UnknownPrice,
        WorldFailed,
    ) as error:
        store.end(job.id, Status.FAILED, error=str(error))
        log.error("%s", error)  # noqa: TRY400 (the user's to mend: the text says how)
    except NoSuchJob:
        raise
    except Exception as error:
        if lacks_room(error, folders.root):
            raise  # which may pass, and then another worker goes on
        # A fault of ours would come again with the next worker.
        told_error = redact(f"{type(error).__name__}: {error}")[:500]
        store.end(job.id, Status.FAILED, error=f"{told_error} (the worker's log says more)")
        raise
    else:
        store.end(job.id, Status.SUCCEEDED, result=result)


def _train(job: Job, plan: Plan, store: Store, folders: Folders) -> dict[str, Any]:
    from training.runner import RunSpec, run_training
    from training.store import fingerprint

    run = folders.run(job.run)
    artifacts = _data(job, plan, store, folders)
    environment = _environment(plan, artifacts)
    spec = RunSpec(
        project=job.project,
        name=job.model_name,
        folder=run / TRAINING,
        seed=plan.seed,
        backend=plan.backend,
        training=plan.training,
        rollout=plan.rollout,
        judge=plan.judge,
        environment=plan.environment,
        data={name: fingerprint(path) for name, path in artifacts.items()},
    )

    def on_step(record: dict[str, Any]) -> None:
        step = step_of(record, plan.training.max_steps)
        store.add_step(job.id, step["step"], step)

    async def train() -> dict[str, Any]:
        result = _result(await run_training(spec, environment, watch=on_step), folders)
        if plan.evaluation is None:
            return result
        from backends import gpus
        from service.evaluation import REPORT, evaluate
        from training.budget import Meter

        # Of the job: the next one of the model has another policy.
        adapter, place = folders.root / result["adapter"], run / "evaluation" / job.id
        meter = Meter(plan.training.budget, gpus(plan.backend), run / TRAINING)
        title = f"{job.project}/{job.model_name}, step {result['step']}"
        found = await evaluate(plan, environment, adapter, place, title)
        found["report"] = str((place / REPORT).relative_to(folders.root))
        store.add_event(job.id, "evaluation", found)
        meter.tick()
        return result | {"evaluation": found, "spent": meter.spent()}

    try:
        return asyncio.run(train())
    finally:
        environment.close()


def _data(job: Job, plan: Plan, store: Store, folders: Folders) -> dict[str, Path]:
    """The files of the job's environment; what it took to write them is told once."""
    from service.data import Order, prepare, report_of
    from training.budget import charge

    order = Order(plan.environment, plan.data, plan.writer)
    run = folders.run(job.run)
    place = folders.environments if order.is_shared else run / "data"
    artifacts = prepare(order, place)
    report = report_of(order, place)
    if report is not None and not job.step and store.last_event(job.id, EXAMPLES) is None:
        charge(run / TRAINING, report["cost_usd"] or 0.0)
        store.add_event(job.id, EXAMPLES, report)
    return artifacts


def _environment(plan: Plan, artifacts: dict[str, Path]) -> Environment[Any, Any]:
    """
    Raises:
        EnvironmentUnavailable: its data is not enough for what is to be done.
    """
    from environment.base import EnvironmentUnavailable
    from environment.registry import environment_package

    package = environment_package(plan.environment["name"])
    environment = package.open_environment(
        artifacts, package.Config.model_validate(plan.environment), plan.rollout.max_turns
    )
    if plan.evaluation and not environment.scenarios("test", 1):
        environment.close()
        raise EnvironmentUnavailable("there is no held-out scenario to evaluate on")
    return environment


def step_of(record: dict[str, Any], num_steps: int) -> dict[str, Any]:
    """A step's record as the data of its event: ``service.schemas.Step``."""
    from training.run_log import STEP

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


def _result(output: RunOutput, folders: Folders) -> dict[str, Any]:
    result = output.result
    adapter = output.adapter.relative_to(folders.root)
    return {
        "step": result.step,
        "stopped_by": result.stopped_by,
        "spent": dict(result.spent),
        "adapter": str(adapter),
        "report": str(adapter.with_name("report.html")),
    }


def _watch(store: Store, job: str) -> None:
    """Stop this process when its job is cancelled, and end it at once when that is deleted."""
    pause = threading.Event()
    while not pause.wait(_LOOK_EVERY_S):
        try:
            cancelling = store.job(job).cancelling
        except NoSuchJob:
            _end_at_once()
        if cancelling:
            os.kill(os.getpid(), signal.SIGTERM)
            return


def _end_at_once() -> NoReturn:
    """This process and all it started, which share its group if a supervisor began it."""
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


class _Warnings(logging.Handler):
    """What the training warns of, as events of its job."""

    def __init__(self, store: Store, job: str) -> None:
        super().__init__(logging.WARNING)
        self._store, self._job, self._left = store, job, _MAX_WARNINGS

    def emit(self, record: logging.LogRecord) -> None:
        if self._left:
            self._left -= 1
            message = redact(record.getMessage())[:2_000]
            self._store.add_event(self._job, "warning", {"message": message})


if __name__ == "__main__":
    sys.exit(main())
