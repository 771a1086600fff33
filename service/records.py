"""The database tables of jobs and events, and read queries."""

from __future__ import annotations

import json
import sqlite3
import threading
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from service.states import Status

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    run TEXT NOT NULL,              -- names its folder; the jobs of a model share one run
    project TEXT NOT NULL,
    model_name TEXT NOT NULL,
    status TEXT NOT NULL,
    base_model TEXT NOT NULL,
    environment TEXT NOT NULL,
    request TEXT NOT NULL,
    plan TEXT NOT NULL,             -- the request, resolved with the settings at submission
    step INTEGER NOT NULL,
    num_steps INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    stalls INTEGER NOT NULL DEFAULT 0,  -- workers that died since the last step
    cancelling INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL,
    started_at TEXT,
    ended_at TEXT,
    error TEXT,
    result TEXT,
    idempotency_key TEXT UNIQUE
);
-- A model has at most one job that has not ended.
CREATE UNIQUE INDEX IF NOT EXISTS one_active ON jobs (project, model_name)
    WHERE status IN ('queued', 'running');
CREATE INDEX IF NOT EXISTS by_model ON jobs (project, model_name, number);
CREATE INDEX IF NOT EXISTS by_status ON jobs (status, number);
CREATE TABLE IF NOT EXISTS events (
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    id INTEGER NOT NULL,
    event TEXT NOT NULL,
    at TEXT NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (job, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_kind ON events (event, job, id);
-- Incremented by every event and deletion, so that one number can be polled.
CREATE TABLE IF NOT EXISTS changes (total INTEGER NOT NULL);
INSERT INTO changes SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM changes);
CREATE TRIGGER IF NOT EXISTS event_told AFTER INSERT ON events
    BEGIN UPDATE changes SET total = total + 1; END;
CREATE TRIGGER IF NOT EXISTS job_deleted AFTER DELETE ON jobs
    BEGIN UPDATE changes SET total = total + 1; END;
-- Runs whose model was deleted, until their worker and folder are gone.
CREATE TABLE IF NOT EXISTS doomed (run TEXT PRIMARY KEY);
"""


class NoSuchJob(LookupError):
    """The job does not exist or was deleted."""


@dataclass(frozen=True, slots=True)
class Job:
    """A row of ``jobs`` without request and plan, which may hold megabytes of examples."""

    number: int
    id: str
    run: str
    project: str
    model_name: str
    status: Status
    base_model: str
    environment: str
    step: int
    num_steps: int
    attempts: int
    stalls: int
    cancelling: bool
    created_at: str
    started_at: str | None
    ended_at: str | None
    error: str | None
    result: dict[str, Any] | None
    idempotency_key: str | None


@dataclass(frozen=True, slots=True)
class StoredEvent:
    id: int
    event: str
    at: str
    data: dict[str, Any]


class Records:
    """Read access to a data folder's database. Thread-safe: one connection per thread."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._guard = threading.Lock()
        self._db.executescript(SCHEMA)

    @property
    def _db(self) -> sqlite3.Connection:
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is None:
            db = sqlite3.connect(
                self._path, timeout=60, isolation_level=None, check_same_thread=False
            )
            db.row_factory = sqlite3.Row
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
                db.execute(f"PRAGMA {pragma}")
            self._local.db = db
            with self._guard:
                self._connections.append(db)
        return db

    def close(self) -> None:
        """Call only when no other thread uses it."""
        with self._guard:
            while self._connections:
                self._connections.pop().close()
        self._local = threading.local()

    def job(self, id_: str) -> Job:
        """Raises ``NoSuchJob``."""
        if jobs := self._jobs("id = ?", (id_,)):
            return jobs[0]
        raise NoSuchJob(f"there is no job {id_}")

    def request(self, id_: str) -> dict[str, Any]:
        return self._json("request", id_)

    def plan(self, id_: str) -> dict[str, Any]:
        return self._json("plan", id_)

    def newest(self, project: str, model_name: str) -> Job | None:
        return next(iter(self.of_model(project, model_name, 1)), None)

    def of_model(self, project: str, model_name: str, limit: int = 100) -> list[Job]:
        """The jobs of a model, newest first."""
        where = "project = ? AND model_name = ? ORDER BY number DESC LIMIT ?"
        return self._jobs(where, (project, model_name, limit))

    def by_key(self, key: str | None) -> Job | None:
        return next(iter(self._jobs("idempotency_key = ?", (key,))), None) if key else None

    def in_status(self, status: Status, limit: int = 1_000) -> list[Job]:
        """Jobs in a status, oldest first."""
        return self._jobs("status = ? ORDER BY number LIMIT ?", (status, limit))

    def newest_of_models(self, limit: int, offset: int, by_name: bool = True) -> list[Job]:
        """The newest job of each model, sorted by project and name; or running jobs first, then
        newest first."""
        order = "project, model_name" if by_name else "status = 'running' DESC, number DESC"
        where = (
            "number IN (SELECT max(number) FROM jobs GROUP BY project, model_name)"
            f" ORDER BY {order} LIMIT ? OFFSET ?"
        )
        return self._jobs(where, (limit, offset))

    def count(self, status: Status) -> int:
        return self.counts()[status]

    def counts(self) -> dict[Status, int]:
        rows = self._db.execute("SELECT status, count(*) FROM jobs GROUP BY status").fetchall()
        counted = {Status(row[0]): row[1] for row in rows}
        return {status: counted.get(status, 0) for status in Status}

    def models(self) -> int:
        return self._number("SELECT count(*) FROM (SELECT DISTINCT project, model_name FROM jobs)")

    def steps(self) -> int:
        return self._number("SELECT count(*) FROM events WHERE event = 'step'")

    def position(self, job: Job) -> int | None:
        """Position in the queue, from 1; None if it is not queued."""
        if job.status is not Status.QUEUED:
            return None
        before = "SELECT count(*) FROM jobs WHERE status = ? AND number <= ?"
        return self._number(before, Status.QUEUED, job.number)

    def doomed(self) -> list[str]:
        return [row[0] for row in self._db.execute("SELECT run FROM doomed").fetchall()]

    def events(self, job: str, after: int, limit: int) -> list[StoredEvent]:
        """A job's events with an id above ``after``, in order."""
        return self._events("id > ? ORDER BY id LIMIT ?", (job, after, limit))

    def last_event(self, job: str, event: str) -> StoredEvent | None:
        """The newest event of a kind."""
        return next(iter(self._events("event = ? ORDER BY id DESC LIMIT 1", (job, event))), None)

    def last_event_id(self, job: str) -> int:
        return self._number("SELECT coalesce(max(id), 0) FROM events WHERE job = ?", job)

    def changes(self) -> int:
        """Number of events and deletions so far, over all jobs."""
        return self._number("SELECT total FROM changes")

    def _json(self, column: str, id_: str) -> dict[str, Any]:
        row = self._db.execute(f"SELECT {column} FROM jobs WHERE id = ?", (id_,)).fetchone()
        if row is None:
            raise NoSuchJob(f"there is no job {id_}")
        return dict(json.loads(row[0]))

    def _number(self, sql: str, *values: Any) -> int:
        return int(self._db.execute(sql, values).fetchone()[0])

    def _jobs(self, where: str, values: tuple[Any, ...]) -> list[Job]:
        columns = ", ".join(_NAMES)
        rows = self._db.execute(f"SELECT {columns} FROM jobs WHERE {where}", values).fetchall()
        return [_job(row) for row in rows]

    def _events(self, where: str, values: tuple[Any, ...]) -> list[StoredEvent]:
        rows = self._db.execute(
            f"SELECT id, event, at, data FROM events WHERE job = ? AND {where}", values
        ).fetchall()
        return [StoredEvent(r["id"], r["event"], r["at"], json.loads(r["data"])) for r in rows]


_NAMES = [field.name for field in fields(Job)]


def _job(row: sqlite3.Row) -> Job:
    values = {name: row[name] for name in _NAMES}
    values["result"] = json.loads(row["result"]) if row["result"] else None
    return Job(**values | {"status": Status(row["status"]), "cancelling": bool(row["cancelling"])})
