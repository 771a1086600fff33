"""Work on one job: ``python -m service.worker --data FOLDER --job ID``.

The worker holds the lock of its job's run and reports through the database alone, so it survives the
service, and the next service recognises it by its lock. When asked to stop (by SIGTERM, or by a
cancellation in the database), it finishes or abandons its step.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import NoReturn

from environment.base import UserError
from service.folders import Folders, lacks_room
from service.locks import LockHeld, holding
from service.redaction import log_to_stderr, redact
from service.states import Status
from service.store import Job, NoSuchJob, Store

log = logging.getLogger(__name__)

ALREADY_WORKED_ON = 75  # EX_TEMPFAIL
_LOOK_EVERY_S = 0.5
_LOCK_PATIENCE_S = 2.0
_MAX_WARNINGS = 200
_PACKAGES = ("agent", "backends", "environment", "training")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the service's data folder")
    parser.add_argument("--job", required=True, help="id of the job")
    arguments = parser.parse_args()
    log_to_stderr(os.environ.get("LOG_LEVEL", "info"))
    folders = Folders(arguments.data)
    store = Store(folders.database)
    try:
        # Before anything slow, so that a second worker sees the lock.
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
    """Work until the job ends, or another worker can continue it."""
    threading.Thread(target=_watch, args=(store, job.id), name="watch", daemon=True).start()
    # Slow imports, after the lock is taken.
    from service.training_job import train
    from training.run.signals import Interrupted

    warnings = _Warnings(store, job.id)
    for package in _PACKAGES:
        logging.getLogger(package).addHandler(warnings)
    try:
        result = train(job, store, folders)
    except Interrupted as stopped:
        if store.job(job.id).cancelling:
            store.end(job.id, Status.CANCELLED)
        else:
            log.info("%s", stopped)
    except UserError as error:
        store.end(job.id, Status.FAILED, error=str(error))
        log.error("%s", error)  # noqa: TRY400 (for the user to fix)
    except NoSuchJob:
        raise
    except Exception as error:
        if lacks_room(error, folders.root):
            raise  # temporary: another worker will continue
        # A bug would recur in the next worker.
        summary = redact(f"{type(error).__name__}: {error}")[:500]
        store.end(job.id, Status.FAILED, error=f"{summary} (the worker's log says more)")
        raise
    else:
        store.end(job.id, Status.SUCCEEDED, result=result)


def _watch(store: Store, job: str) -> None:
    """Stop this process when its job is cancelled; kill it when the job is deleted."""
    pause = threading.Event()
    while not pause.wait(_LOOK_EVERY_S):
        try:
            cancelling = store.job(job).cancelling
        except NoSuchJob:
            _kill_group()
        if cancelling:
            os.kill(os.getpid(), signal.SIGTERM)
            return


def _kill_group() -> NoReturn:
    """Kill this process and its children, which share its group if a supervisor started it."""
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


class _Warnings(logging.Handler):
    """Records warnings as events of the job."""

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
