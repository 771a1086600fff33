"""Keep a worker at every job that runs, as many at once as may be.

A round of it looks at the database and at the locks, and does what is due. It remembers nothing that
the next service needs: after a kill -9 that one finds workers that went on by their locks and leaves
them at it, and starts new ones for jobs whose worker is gone.
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
        self._had_worker: set[str] = set()  # jobs: only a death in our time counts against one
        self._fault = ""
        self._wake, self._ending = threading.Event(), threading.Event()
        self._buried = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether jobs are started."""
        return self._thread.is_alive() and not self._fault

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """There is something to do."""
        self._wake.set()

    def wait_until_gone(self, runs: set[str], patience_s: float) -> bool:
        """Whether workers and folders of deleted models are gone within that time."""
        self.wake()
        with self._buried:
            return self._buried.wait_for(lambda: runs.isdisjoint(self._store.doomed()), patience_s)

    def stop(self) -> None:
        """Ask the workers to stop, which leaves their jobs to the next service; one that needs
        longer for its step goes on meanwhile."""
        self._ending.set()
        self.wake()
        self._thread.join()
        for job in self._store.in_status(Status.RUNNING):
            child = self._children.get(job.run)
            pid = child.pid if child else holder(self._folders.lock(job.run))
            if pid:
                _signal(pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_PATIENCE_S
        while self._reap() and time.monotonic() < deadline:
            time.sleep(_STOP_LOOK_S)
        for child in self._children.values():
            log.warning("worker %d still finishes its step", child.pid)

    def _run(self) -> None:
        try:
            while not self._ending.is_set():
                self._try_round()
                self._wake.wait(_ROUND_S)
                self._wake.clear()
        except BaseException:
            log.critical("the supervisor failed: no job is started any more", exc_info=True)
            raise

    def _try_round(self) -> None:
        """A round that cannot be finished, as on a full disk, is taken up again."""
        try:
            self.round()
        except (OSError, sqlite3.OperationalError) as error:
            if str(error) != self._fault:
                log.error("jobs cannot be started: %s", error)  # noqa: TRY400 (it says all)
            self._fault = str(error)
            self._ending.wait(_AFTER_A_FAULT_S)
        else:
            self._fault = ""

    def round(self) -> None:
        """Everything that is due now."""
        self._reap()
        for run in self._store.doomed():
            self._bury(run)
        running = self._store.in_status(Status.RUNNING)
        for job in running:
            self._tend(job)
        over = self._children.keys() - {job.run for job in self._store.in_status(Status.RUNNING)}
        for run in over:  # their jobs have ended, and they are about to
            self._end_in_time(run, self._children[run].pid)
        free = self._settings.concurrency - self._store.count(Status.RUNNING) - len(over)
        for job in self._store.in_status(Status.QUEUED, max(0, free)):
            self._begin(job)

    def _reap(self) -> bool:
        """Notice workers that ended, and end what they left running. Returns: whether some go on."""
        for run, child in list(self._children.items()):
            ended = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                continue
            # Before its id is free for others: the group of a process that was not waited for yet.
            _kill_group(child.pid)
            code = child.wait()
            del self._children[run]
            if code not in (0, ALREADY_WORKED_ON):
                log.warning("worker %d of run %s ended with %d", child.pid, run, code)
        return bool(self._children)

    def _tend(self, job: Job) -> None:
        lock = self._folders.lock(job.run)
        child = self._children.get(job.run)
        pid = child.pid if child else holder(lock)
        if pid is not None:
            self._had_worker.add(job.id)
            self._hurry(job, pid)
            return
        # Whoever held the lock has written the end of its job before it let go.
        try:
            job = self._store.job(job.id)
        except NoSuchJob:
            return
        if job.status.ended:
            return
        if job.cancelling:
            self._store.end(job.id, Status.CANCELLED)
        elif job.id not in self._had_worker:
            # It was stopped with the last service, or died with it: no fault of the job's.
            self._spawn(self._store.resume(job.id, "its worker had ended with the service", 0))
        elif job.stalls >= self._settings.restarts:
            told = f"its worker ended {job.stalls + 1} times in a row without a step; the log is"
            path = self._folders.log(job.run).relative_to(self._folders.root)
            self._store.end(job.id, Status.FAILED, error=f"{told} {path} in the data folder")
        elif self._rested(job):
            self._spawn(self._store.resume(job.id, "its worker was gone", 1))

    def _rested(self, job: Job) -> bool:
        """Whether the pause before another attempt is over; there is none before the first."""
        if job.stalls == 0:
            return True
        pause = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** (job.stalls - 1))
        return time.monotonic() >= self._not_before.setdefault(
            f"{job.id} {job.attempts}", time.monotonic() + pause
        )

    def _hurry(self, job: Job, pid: int) -> None:
        """Kill a worker that was asked to stop and has not for too long."""
        if job.cancelling and pid:
            self._end_in_time(job.run, pid)

    def _end_in_time(self, run: str, pid: int) -> None:
        since = self._should_end.setdefault(f"{run} {pid}", time.monotonic())
        if time.monotonic() - since > self._settings.cancel_grace_s:
            log.warning("worker %d did not end in time and is killed", pid)
            _kill_group(pid)

    def _begin(self, job: Job) -> None:
        if job.run in self._children or holder(self._folders.lock(job.run)) is not None:
            return  # the model's last worker is just ending
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
                # A group of its own, so that all it started can be ended with it, and a Ctrl-C at
                # the service is not one at its workers.
                start_new_session=True,
            )
        log.info("worker %d: job %s, attempt %d", self._children[job.run].pid, job.id, job.attempts)

    def _bury(self, run: str) -> None:
        """End the worker of a deleted model, then delete its folder."""
        child = self._children.get(run)
        pid = child.pid if child else holder(self._folders.lock(run))
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
    """The environment of a worker: the service's, without what callers must show, and without the
    empty keys of a copied .env.example: ART asks only whether there is one."""
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
    """Renamed first: half a folder must not look like a run."""
    doomed = folder.with_name(f"{folder.name}.deleted")
    if folder.exists():
        folder.rename(doomed)
    if doomed.exists():
        shutil.rmtree(doomed)


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        log.debug("nothing is left of the group of %d", pid)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        log.debug("%d has ended already", pid)
