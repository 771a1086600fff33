"""Keep a worker on every running job, and start queued jobs up to the concurrency limit.

Each round acts on the state of the database and the locks alone. So after a kill -9, the next service
recognises surviving workers by their locks, and replaces those that are gone.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from service.folders import Folders
from service.locks import holder
from service.settings import ROOT, TOKEN, ServiceSettings
from service.states import Status
from service.store import Job, NoSuchJob, Store
from service.worker import ALREADY_WORKED_ON

log = logging.getLogger(__name__)

_ROUND_S = 0.2
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_STOP_PATIENCE_S, _STOP_LOOK_S = 10.0, 0.05
_AFTER_A_FAULT_S = 2.0


class Supervisor:
    """Runs in a thread between ``start`` and ``stop``."""

    def __init__(self, store: Store, folders: Folders, settings: ServiceSettings) -> None:
        self._store, self._folders, self._settings = store, folders, settings
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._not_before: dict[str, float] = {}
        self._should_end: dict[str, float] = {}
        self._had_worker: set[str] = set()  # jobs: only deaths that we witness count against them
        self._fault = ""
        self._wake, self._ending = threading.Event(), threading.Event()
        self._buried = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether it starts jobs."""
        return self._thread.is_alive() and not self._fault

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Start the next round now."""
        self._wake.set()

    def wait_until_gone(self, runs: set[str], patience_s: float) -> bool:
        """Wait until workers and folders of deleted models are gone. Returns whether they are."""
        self.wake()
        with self._buried:
            return self._buried.wait_for(lambda: runs.isdisjoint(self._store.doomed()), patience_s)

    def stop(self) -> None:
        """Ask the workers to stop, leaving their jobs to the next service. A worker may outlive this
        call to finish its step."""
        self._ending.set()
        self.wake()
        self._thread.join()
        for job in self._store.in_status(Status.RUNNING):
            if pid := self._worker(job.run):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_PATIENCE_S
        while self._reap() and time.monotonic() < deadline:
            time.sleep(_STOP_LOOK_S)
        for child in self._children.values():
            log.warning("worker %d is still finishing its step", child.pid)

    def _run(self) -> None:
        try:
            while not self._ending.is_set():
                self._try_round()
                self._wake.wait(_ROUND_S)
                self._wake.clear()
        except BaseException:
            log.critical("the supervisor failed: no more jobs will be started", exc_info=True)
            raise

    def _try_round(self) -> None:
        """Retries a round that fails for outside reasons, such as a full disk."""
        try:
            self.round()
        except (OSError, sqlite3.OperationalError) as error:
            if str(error) != self._fault:
                log.error("jobs cannot be started: %s", error)  # noqa: TRY400 (needs no traceback)
            self._fault = str(error)
            self._ending.wait(_AFTER_A_FAULT_S)
        else:
            self._fault = ""

    def round(self) -> None:
        """Do everything that is due."""
        self._reap()
        for run in self._store.doomed():
            self._bury(run)
        for job in self._store.in_status(Status.RUNNING):
            self._tend(job)
        over = self._children.keys() - {job.run for job in self._store.in_status(Status.RUNNING)}
        for run in over:  # their jobs have ended; they should exit
            self._end_in_time(run, self._children[run].pid)
        free = self._settings.concurrency - self._store.count(Status.RUNNING) - len(over)
        for job in self._store.in_status(Status.QUEUED, max(0, free)):
            self._begin(job)

    def _reap(self) -> bool:
        """Collect workers that exited and kill what they left running. Returns whether any worker is
        left."""
        for run, child in list(self._children.items()):
            if os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                continue
            # Before wait(), which frees the id for another process.
            _kill_group(child.pid)
            code = child.wait()
            del self._children[run]
            if code not in (0, ALREADY_WORKED_ON):
                log.warning("worker %d of run %s exited with %d", child.pid, run, code)
        return bool(self._children)

    def _worker(self, run: str) -> int | None:
        """Process id of the run's worker; see ``holder``."""
        child = self._children.get(run)
        return child.pid if child else holder(self._folders.lock(run))

    def _tend(self, job: Job) -> None:
        pid = self._worker(job.run)
        if pid is not None:
            self._had_worker.add(job.id)
            if job.cancelling and pid:
                self._end_in_time(job.run, pid)
            return
        # Read again: a worker records the end of its job before it releases the lock.
        try:
            job = self._store.job(job.id)
        except NoSuchJob:
            return
        if job.status.ended:
            return
        if job.cancelling:
            self._store.end(job.id, Status.CANCELLED)
        elif job.id not in self._had_worker:
            # It stopped or died with the previous service, which is not the job's fault.
            self._spawn(self._store.resume(job.id, "its worker ended with the service", 0))
        elif job.stalls >= self._settings.restarts:
            path = self._folders.log(job.run).relative_to(self._folders.root)
            error = (
                f"its worker died {job.stalls + 1} times in a row without a step; see {path} in the "
                "data folder"
            )
            self._store.end(job.id, Status.FAILED, error=error)
        elif self._rested(job):
            self._spawn(self._store.resume(job.id, "its worker died", 1))

    def _rested(self, job: Job) -> bool:
        """Whether the pause before the next attempt is over; there is none before the first."""
        if job.stalls == 0:
            return True
        pause = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** (job.stalls - 1))
        return time.monotonic() >= self._not_before.setdefault(
            f"{job.id} {job.attempts}", time.monotonic() + pause
        )

    def _end_in_time(self, run: str, pid: int) -> None:
        """Kill a worker that takes longer than ``cancel_grace_s`` to stop."""
        since = self._should_end.setdefault(f"{run} {pid}", time.monotonic())
        if time.monotonic() - since > self._settings.cancel_grace_s:
            log.warning("worker %d did not stop in time: killing it", pid)
            _kill_group(pid)

    def _begin(self, job: Job) -> None:
        if self._worker(job.run) is not None:
            return  # the worker of the model's last job is still exiting
        try:
            self._spawn(self._store.begin(job.id))
        except NoSuchJob:
            log.info("job %s was deleted before it began", job.id)

    def _spawn(self, job: Job) -> None:
        self._had_worker.add(job.id)
        path = self._folders.log(job.run)
        path.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "service.worker", "--data", str(self._folders.root)]
        with path.open("ab") as file:
            self._children[job.run] = subprocess.Popen(  # noqa: S603 (our own module)
                [*command, "--job", job.id],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=worker_environ(self._settings.log_level),
                cwd=ROOT,
                # Its own process group, so that its children can be killed with it, and a Ctrl-C
                # does not reach it.
                start_new_session=True,
            )
        log.info("worker %d: job %s, attempt %d", self._children[job.run].pid, job.id, job.attempts)

    def _bury(self, run: str) -> None:
        """Kill the worker of a deleted model; once it is gone, delete its folder."""
        pid = self._worker(run)
        if pid is not None:
            if pid:
                _kill_group(pid)
            return
        _remove(self._folders.run(run))
        self._folders.lock(run).unlink(missing_ok=True)
        with self._buried:
            self._store.bury(run)
            self._buried.notify_all()


def worker_environ(log_level: str) -> dict[str, str]:
    """A worker's environment variables: the service's, without its token and without the empty keys of
    a copied .env.example, since ART checks only for their presence."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name != TOKEN and (value or not name.endswith("_KEY"))
    }
    return (
        {"OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}
        | kept
        | {"LOG_LEVEL": log_level}
    )


def _remove(folder: Path) -> None:
    """Renames first: a half-deleted folder must not look like a run."""
    doomed = folder.with_name(f"{folder.name}.deleted")
    if folder.exists():
        folder.rename(doomed)
    if doomed.exists():
        shutil.rmtree(doomed)


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
