"""Jobs and their events in SQLite, shared by the training service and its workers.

A change and its events are one transaction, so a kill leaves all of it or nothing. The database is in
WAL mode: readers never wait.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from service.records import Job, NoSuchJob, Records
from service.redaction import redact, redact_all
from service.states import Status, advance

__all__ = ["Job", "KeyReused", "ModelBusy", "NoSuchJob", "QueueFull", "Store"]


class ModelBusy(RuntimeError):
    """The model has a job that has not ended."""


class KeyReused(RuntimeError):
    """The idempotency key belongs to a different request."""


class QueueFull(RuntimeError):
    """The queue is full."""


class Store(Records):
    """Read and write access to a data folder's database."""

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise

    # Called by the API

    def submit(
        self, request: dict[str, Any], plan: dict[str, Any], key: str | None, queue_limit: int
    ) -> tuple[Job, bool]:
        """Queue a job, unless an earlier request with this key has. Returns the job and whether it is
        new.

        Raises:
            KeyReused, ModelBusy, QueueFull: see there.
        """
        names = request["project"], request["model_name"]
        with self._change() as db:
            if earlier := self.by_key(key):
                if self.request(earlier.id) != request:
                    raise KeyReused(f"the idempotency key belongs to another job, {earlier.id}")
                return earlier, False
            last = self.newest(*names)
            if last and not last.status.ended:
                raise ModelBusy(f"{names[0]}/{names[1]} is in training: job {last.id}")
            if self.count(Status.QUEUED) >= queue_limit:
                raise QueueFull(f"the queue is full: {queue_limit} jobs are waiting")
            id_ = uuid4().hex
            db.execute(
                "INSERT INTO jobs (id, run, project, model_name, status, base_model, environment,"
                " request, plan, step, num_steps, created_at, idempotency_key)"
                " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
                (
                    id_,
                    last.run if last else uuid4().hex,
                    *names,
                    Status.QUEUED,
                    request["base_model"],
                    request["environment"],
                    json.dumps(request),
                    json.dumps(plan),
                    last.step if last else 0,
                    request["num_steps"],
                    _now(),
                    key,
                ),
            )
            self._add(db, id_, "status", {"status": Status.QUEUED})
            return self.job(id_), True

    def request_cancel(self, id_: str) -> Job:
        """End a queued job, or flag a running one for its worker. No effect if it has ended."""
        with self._change() as db:
            job = self.job(id_)
            if job.status is Status.QUEUED:
                self._move(db, job, Status.CANCELLED)
            elif job.status is Status.RUNNING and not job.cancelling:
                db.execute("UPDATE jobs SET cancelling = 1 WHERE id = ?", (id_,))
                self._add(db, id_, "cancelling", {})
            return self.job(id_)

    def delete(self, project: str, model_name: str) -> set[str]:
        """Delete a model and its jobs. Returns its runs, whose workers and folders are now doomed."""
        with self._change() as db:
            mine = "project = ? AND model_name = ?"
            rows = db.execute(
                f"SELECT DISTINCT run FROM jobs WHERE {mine}", (project, model_name)
            ).fetchall()
            runs = {row["run"] for row in rows}
            db.executemany("INSERT OR IGNORE INTO doomed VALUES (?)", [(run,) for run in runs])
            db.execute(f"DELETE FROM jobs WHERE {mine}", (project, model_name))
            return runs

    def bury(self, run: str) -> None:
        """Forget a doomed run once nothing of it is left."""
        with self._change() as db:
            db.execute("DELETE FROM doomed WHERE run = ?", (run,))

    # Called by the supervisor and the workers

    def begin(self, id_: str) -> Job:
        """Mark a queued job as running, before its worker starts."""
        with self._change() as db:
            self._move(db, self.job(id_), Status.RUNNING)
            db.execute("UPDATE jobs SET attempts = 1, started_at = ? WHERE id = ?", (_now(), id_))
            return self.job(id_)

    def resume(self, id_: str, why: str, deaths: int) -> Job:
        """Record that a running job gets another worker. ``deaths`` count against its restarts."""
        with self._change() as db:
            job = self.job(id_)
            db.execute(
                "UPDATE jobs SET attempts = attempts + 1, stalls = stalls + ? WHERE id = ?",
                (deaths, id_),
            )
            data = {"attempt": job.attempts + 1, "after_step": job.step, "reason": why}
            self._add(db, id_, "resumed", data)
            return self.job(id_)

    def add_step(self, id_: str, step: int, data: dict[str, Any]) -> bool:
        """Record a step. Returns False if it was recorded before."""
        with self._change() as db:
            if step <= self.job(id_).step:
                return False
            db.execute("UPDATE jobs SET step = ?, stalls = 0 WHERE id = ?", (step, id_))
            self._add(db, id_, "step", data)
            return True

    def add_event(self, id_: str, event: str, data: dict[str, Any]) -> None:
        with self._change() as db:
            self.job(id_)
            self._add(db, id_, event, data)

    def note_result(self, id_: str, result: dict[str, Any]) -> None:
        """Record the result so far, in case the job ends early."""
        with self._change() as db:
            db.execute("UPDATE jobs SET result = ? WHERE id = ?", (json.dumps(result), id_))

    def end(
        self, id_: str, status: Status, *, error: str | None = None, result: Any = None
    ) -> None:
        """
        Raises:
            IllegalTransition: it has ended already.
            NoSuchJob: it was deleted.
        """
        with self._change() as db:
            self._move(db, self.job(id_), status, error, result)

    def _move(
        self,
        db: sqlite3.Connection,
        job: Job,
        status: Status,
        error: str | None = None,
        result: Any = None,
    ) -> None:
        new = advance(job.status, status)
        error = redact(error) if error else None
        data = {"status": new} | ({"error": error} if error else {})
        if result is not None:
            data["result"] = result
        db.execute(
            "UPDATE jobs SET status = ?, error = ?, result = coalesce(?, result), ended_at = ?"
            " WHERE id = ?",
            (
                new,
                error,
                json.dumps(result) if result else None,
                _now() if new.ended else None,
                job.id,
            ),
        )
        self._add(db, job.id, "status", data)

    @staticmethod
    def _add(db: sqlite3.Connection, job: str, event: str, data: dict[str, Any]) -> None:
        db.execute(
            "INSERT INTO events (job, id, event, at, data) SELECT ?, coalesce(max(id), 0) + 1, ?,"
            " ?, ? FROM events WHERE job = ?",
            (job, event, _now(), json.dumps(redact_all(data), allow_nan=False), job),
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
