"""User questions about an inbox: request and response models, and when to withhold an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from environment.base import StrictModel
from environment.deployable import Deployable, Finding, Unanswerable
from environment.email_search.evidence import marks, stands_in
from environment.email_search.matching import is_no_answer
from environment.email_search.models import Email, EmailOutcome, EmailQuestion, EmailScenario

if TYPE_CHECKING:
    from environment.email_search import EmailSearchEnvironment

MAX_QUESTION_CHARS = 2_000
_MAX_ADDRESS_CHARS = 320  # RFC 3696, erratum 1690
NOTHING_FOUND = "I found no answer to this in the mails of this inbox."


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


_Text = Annotated[str, AfterValidator(_not_blank)]


class Question(EmailQuestion):
    """A question from an untrusted client, with size limits."""

    question: _Text = Field(max_length=MAX_QUESTION_CHARS)
    inbox_address: _Text = Field(max_length=_MAX_ADDRESS_CHARS)
    query_date: str = Field(
        json_schema_extra={"format": "date"}, description="Today's date for the agent: YYYY-MM-DD."
    )


class Source(StrictModel):
    """A cited email. ``marks`` are the character ranges of ``body`` that match the answer."""

    message_id: str
    date: str
    sender: str
    to: list[str]
    subject: str
    body: str
    marks: list[tuple[int, int]]


def check(environment: EmailSearchEnvironment, question: Question) -> None:
    """
    Raises:
        Unanswerable: no email was sent to or from the inbox address.
    """
    if not environment.database.has_inbox(question.inbox_address):
        raise Unanswerable("inbox_address", "unknown_inbox", "there is no such inbox here")


def finding(
    environment: EmailSearchEnvironment, question: Question, outcome: EmailOutcome
) -> Finding:
    """The answer with its sources, or the reason there is none."""
    answer = outcome.answer
    if answer is None or is_no_answer(answer):
        return Finding(None, reason="the agent found no answer in this inbox")
    # An id from another inbox must be indistinguishable from one that does not exist.
    read = environment.database.read
    cited = [read(question.inbox_address, one) for one in dict.fromkeys(outcome.source_ids)]
    mails = [mail for mail in cited if mail is not None]
    if not mails:
        return Finding(None, reason="the agent cited no email from this inbox")
    if not stands_in(answer, mails):
        return Finding(None, reason="the cited emails do not support the agent's answer")
    sources: list[StrictModel] = [source(mail, answer) for mail in mails]
    return Finding(answer, sources, [mail.message_id for mail in mails])


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


def question_of(scenario: EmailScenario) -> Question:
    return Question(
        question=scenario.question,
        inbox_address=scenario.inbox_address,
        query_date=scenario.query_date,
    )


DEPLOYABLE = Deployable(
    title="Email agent",
    description="Answers questions from the mails of an inbox, with its sources.",
    question=Question,
    example={
        "question": "Who can I contact for Power Operations when Sally is in London?",
        "inbox_address": "john.smith@enron.com",
        "query_date": "2001-05-15",
    },
    data="database",
    check=check,
    session=lambda environment, question: environment.ask(question),
    finding=finding,
    question_of=question_of,
    nothing_found=NOTHING_FOUND,
)
