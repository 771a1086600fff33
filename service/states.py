"""The states of a job and their transitions.

queued → running → succeeded, failed or cancelled. A queued job may be cancelled. A running job stays
running while its worker is replaced; it never returns to the queue.
"""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    QUEUED = "queued"
    """Waiting for a worker."""
    RUNNING = "running"
    """A worker has it, or a replacement is starting."""
    SUCCEEDED = "succeeded"
    """Trained to the end, or until a budget ran out."""
    FAILED = "failed"
    """It cannot continue; ``error`` says why."""
    CANCELLED = "cancelled"
    """Ended at a caller's request."""

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
    """The new status cannot follow the job's current one."""


def advance(old: Status, new: Status) -> Status:
    """
    Returns:
        ``new``.

    Raises:
        IllegalTransition: ``new`` may not follow ``old``.
    """
    if new not in _NEXT[old]:
        raise IllegalTransition(f"a job that is {old} cannot become {new}")
    return new
