"""Email sources. ``source.emails(tally)`` yields every readable email once.

An unusable email is counted by reason, never dropped silently and never fatal; a source that
cannot be read at all (missing folder, no network) raises ``SourceError``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from environment.base import UserError


class SourceError(UserError):
    """An unreadable source; the message names it and says what to do."""


@dataclass(slots=True)
class Tally:
    """A source's counts by reason, complete once its iterator is exhausted.

    Args:
        skipped: emails left out.
        notes: emails kept although something was missing or repaired.
    """

    skipped: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
