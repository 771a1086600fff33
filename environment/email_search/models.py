"""Records of the email environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator

from environment.base import Outcome, Scenario, ScenarioView, StrictModel

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_SHOWN = 40


@dataclass(slots=True)
class Email:
    """One email. ``date`` is UTC, ``YYYY-MM-DD HH:MM:SS``, or empty if the email has no usable one.

    A dataclass rather than a pydantic model: building a database creates half a million of these,
    all from our own sources.
    """

    message_id: str
    date: str
    subject: str
    sender: str
    to: list[str] = field(default_factory=list)
    cc: list[str] = field(default_factory=list)
    bcc: list[str] = field(default_factory=list)
    body: str = ""
    file_name: str = ""

    def participants(self) -> set[str]:
        """Sender and recipients in lower case: the inboxes that hold this email."""
        everyone = (self.sender, *self.to, *self.cc, *self.bcc)
        return {address.lower() for address in everyone if address}


@dataclass(frozen=True, slots=True)
class SearchHit:
    """One search result."""

    message_id: str
    date: str
    sender: str
    subject: str
    snippet: str


def parse_day(text: str) -> date:
    """Parse ``YYYY-MM-DD``.

    Raises:
        ValueError: wrong format, or no such day.
    """
    if not _DAY.fullmatch(text):
        start = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
        raise ValueError(f"{start!r} is not a date of the form YYYY-MM-DD")
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a day of the calendar") from error


class EmailQuestion(StrictModel):
    """A question about an inbox, asked on a given day."""

    question: str = Field(min_length=1)
    inbox_address: str = Field(min_length=1)
    query_date: str

    @field_validator("query_date")
    @classmethod
    def _is_a_day(cls, value: str) -> str:
        parse_day(value)
        return value


class EmailScenario(EmailQuestion, Scenario):
    """A question with its gold answer.

    The fields are those of the dataset ``corbt/enron_emails_sample_questions``, plus ``kind``: the
    question type if this package wrote the question, else empty.
    """

    id: Annotated[str, BeforeValidator(str)]
    answer: str = Field(min_length=1)
    message_ids: tuple[str, ...] = Field(min_length=1)
    how_realistic: float = Field(1.0, allow_inf_nan=False)
    kind: str = ""

    @property
    def view(self) -> ScenarioView:
        # Questions about the same email succeed or fail together.
        return ScenarioView(self.question, self.answer, self.kind or "all", self.message_ids[0])


@dataclass(slots=True)
class EmailOutcome(Outcome):
    """What the agent found, read and answered."""

    source_ids: tuple[str, ...] = ()
    found_ids: frozenset[str] = frozenset()
    read_ids: frozenset[str] = frozenset()
    searches: int = 0


def counts_text(counts: Mapping[str, int]) -> str:
    """``2 duplicate, 1 no_date``, largest first."""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{count} {reason}" for reason, count in ordered)


class BuildReport(StrictModel):
    """How many emails of a source were stored, and how many skipped by reason."""

    stored: int
    skipped: dict[str, int]
    notes: dict[str, int] = Field(default_factory=dict)
    inboxes: int

    @property
    def total(self) -> int:
        return self.stored + sum(self.skipped.values())
