"""Where mails come from. Every source yields ``Email`` and counts what it could not read.

A mail that cannot be used is counted under a reason, never silently dropped and never fatal; a
source that cannot be read at all (no such folder, no network) raises ``SourceError``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from environment.base import UserError
from environment.email_search.models import Email


class SourceError(UserError):
    """A source that cannot be read; the text names it and says what to do."""


@dataclass(slots=True)
class Tally:
    """What a source met on its way.

    Args:
        skipped: mails left out, by reason.
        notes: mails kept although something was missing or mended, by reason.
    """

    skipped: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)


class Source(Protocol):
    def emails(self, tally: Tally) -> Iterator[Email]:
        """Every readable mail, once; ``tally`` is complete when the iterator ends."""
        ...
