"""What the service is asked, and what it answers."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from environment.base import StopReason, StrictModel
from environment.email_search.email_db import EmailDatabase
from environment.email_search.evidence import marks, stands_in
from environment.email_search.matching import is_no_answer
from environment.email_search.models import Email, EmailOutcome, EmailQuestion

MAX_QUESTION_CHARS = 2_000
_MAX_ADDRESS_CHARS = 320  # RFC 3696, erratum 1690
NOTHING_FOUND = "I found no answer to this in the mails of this inbox."
_WHY_NOT = {
    StopReason.NO_TOOL_CALL: "the agent stopped without giving an answer",
    StopReason.MALFORMED_CALL: "the agent made a call that could not be read",
    StopReason.OUT_OF_TURNS: "the agent used up its turns without finding an answer",
    StopReason.OVER_LENGTH: "the conversation grew beyond what the model can hold",
    StopReason.TIMEOUT: "the agent took too long",
}


def _with_content(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


_Text = Annotated[str, AfterValidator(_with_content)]


class Question(EmailQuestion):
    """A question as it arrives from outside, within bounds."""

    question: _Text = Field(max_length=MAX_QUESTION_CHARS)
    inbox_address: _Text = Field(max_length=_MAX_ADDRESS_CHARS)
    query_date: str = Field(
        json_schema_extra={"format": "date"}, description="The day it is for the agent: YYYY-MM-DD."
    )


class UnknownInbox(LookupError):
    """There is no mail to or from this address."""


class Checkpoint(StrictModel):
    """Which weights answered, and from which mails.

    Args:
        run: the training run that made it; its folder holds every step.
        trained_on: digest of the mail database it was trained on.
        mails: digest of the mail database it answers from.
    """

    model: str
    version: str
    step: int
    run: str
    trained_on: str
    mails: str


class Source(StrictModel):
    """A cited mail. ``marks`` are the ranges of characters of ``body`` that hold words of the
    answer."""

    message_id: str
    date: str
    sender: str
    to: list[str]
    subject: str
    body: str
    marks: list[tuple[int, int]]


class Answer(StrictModel):
    """What the agent answered. Without success ``answer`` says that nothing was found, ``reason``
    says why, and there is no source."""

    question: str
    answer: str
    source_ids: list[str]
    success: bool
    reason: str | None
    checkpoint: Checkpoint
    turns: int
    latency_ms: float


def judge_outcome(
    outcome: EmailOutcome, inbox: str, database: EmailDatabase
) -> tuple[str | None, list[Email], str | None]:
    """The answer with the mails it stands in, or else the reason why it is none."""
    if outcome.answer is None:
        return None, [], _WHY_NOT.get(outcome.stop, "the agent gave no answer")
    if is_no_answer(outcome.answer):
        return None, [], "the agent found no answer in this inbox"
    # Once each, in the order it cited them; an id from elsewhere is not to be told apart from one
    # that does not exist.
    cited = [database.read(inbox, message_id) for message_id in dict.fromkeys(outcome.source_ids)]
    mails = [mail for mail in cited if mail is not None]
    if not mails:
        return None, [], "the agent cited no mail of this inbox for its answer"
    if not stands_in(outcome.answer, mails):
        return None, [], "the agent's answer does not stand in the mails that it cited"
    return outcome.answer, mails, None


def source(mail: Email, answer: str) -> Source:
    return Source(
        message_id=mail.message_id,
        date=mail.date,
        sender=mail.sender,
        to=[*mail.to, *mail.cc],
        subject=mail.subject,
        body=mail.body,
        marks=marks(answer, mail.body),
    )
