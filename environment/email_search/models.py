"""The records of the email environment: a mail, a question about it, a search hit."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator

from environment.base import Outcome, Scenario, ScenarioView, StrictModel

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_SHOWN = 40


@dataclass(slots=True)
class Email:
    """One mail. ``date`` is UTC, ``YYYY-MM-DD HH:MM:SS``; empty when the mail has no usable one.

    A dataclass and not a pydantic model: half a million of these are made while a database is
    built, all of them by our own sources.
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
        """Sender and recipients in lower case: the inboxes this mail lies in."""
        everyone = (self.sender, *self.to, *self.cc, *self.bcc)
        return {address.lower() for address in everyone if address}


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A line of a search result, newest mail first."""

    message_id: str
    date: str
    sender: str
    subject: str
    snippet: str


def parse_day(text: str) -> date:
    """``YYYY-MM-DD`` as a date.

    Raises:
        ValueError: the text is not a day of the calendar in that form.
    """
    if not _DAY.fullmatch(text):
        start = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
        raise ValueError(f"{start!r} is not a date of the form YYYY-MM-DD")
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a day of the calendar") from error


class EmailQuestion(StrictModel):
    """What somebody wants to know of an inbox on a day."""

    question: str = Field(min_length=1)
    inbox_address: str = Field(min_length=1)
    query_date: str

    @field_validator("query_date")
    @classmethod
    def _is_a_day(cls, value: str) -> str:
        parse_day(value)
        return value


class EmailScenario(EmailQuestion, Scenario):
    """A question about one inbox, with its gold answer.

    The fields are those of the data set ``corbt/enron_emails_sample_questions``; ``kind`` names
    the type of question where we made it ourselves, and is empty otherwise.
    """

    id: Annotated[str, BeforeValidator(str)]
    answer: str = Field(min_length=1)
    message_ids: tuple[str, ...] = Field(min_length=1)
    how_realistic: float = Field(1.0, allow_inf_nan=False)
    kind: str = ""

    @property
    def view(self) -> ScenarioView:
        # Questions about one mail succeed or fail together.
        return ScenarioView(self.question, self.answer, self.kind or "all", self.message_ids[0])


@dataclass(slots=True)
class EmailOutcome(Outcome):
    """What the agent saw and said in one inbox."""

    source_ids: tuple[str, ...] = ()
    found_ids: frozenset[str] = frozenset()
    read_ids: frozenset[str] = frozenset()
    searches: int = 0


class BuildReport(StrictModel):
    """Where every mail of a source went: stored, or counted under the reason why not."""

    stored: int
    skipped: dict[str, int]
    notes: dict[str, int] = Field(default_factory=dict)
    inboxes: int

    @property
    def seen(self) -> int:
        return self.stored + sum(self.skipped.values())
