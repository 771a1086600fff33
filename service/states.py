"""The states of a job, and the only place that defines their transitions.

queued → running → succeeded, failed or cancelled. A queued job may be cancelled. A running job stays
running while its worker is replaced; it never goes back to the queue.
"""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """The state of a job."""

    QUEUED = "queued"
    """Waiting for a worker."""
    RUNNING = "running"
    """A worker has started it; a replacement may be starting."""
    SUCCEEDED = "succeeded"
    """All steps were made, or a budget ended it."""
    FAILED = "failed"
    """It cannot continue; ``error`` says why."""
    CANCELLED = "cancelled"
    """Ended at the request of a caller."""

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
    """A job cannot change from its status to that one."""


def advance(old: Status, new: Status) -> Status:
    """``new``, if it may follow ``old``.

    Raises:
        IllegalTransition: it may not.
    """
    if new not in _NEXT[old]:
        raise IllegalTransition(f"a job that is {old} cannot become {new}")
    return new
