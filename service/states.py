"""The life of a job, and the only place that says what may follow what.

queued → running → succeeded, failed or cancelled. A job that nobody has begun may be cancelled. One
that is running stays so while its worker is replaced: nothing that dies takes a job back.
"""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    """It waits for a worker."""
    RUNNING = "running"
    """A worker has begun it; that worker may be being replaced."""
    SUCCEEDED = "succeeded"
    """It made all its steps, or stopped cleanly by a budget."""
    FAILED = "failed"
    """It cannot go on; ``error`` says why."""
    CANCELLED = "cancelled"
    """Somebody asked for its end."""

    @property
    def ended(self) -> bool:
        return not _NEXT[self]


_NEXT: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.RUNNING, Status.CANCELLED}),
    Status.RUNNING: frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED}),
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
}


class IllegalTransition(RuntimeError):
    """A job cannot go from its status to that one."""


def advance(old: Status, new: Status) -> Status:
    """``new``, if it may follow ``old``.

    Raises:
        IllegalTransition: it may not.
    """
    if new not in _NEXT[old]:
        raise IllegalTransition(f"a job that is {old} cannot become {new}")
    return new
