"""What may be asked, and what counts as an answer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from deployment.answer import no_answer
from environment.base import StopReason
from environment.email_search.answering import (
    MAX_QUESTION_CHARS,
    Question,
    Source,
    finding,
    source,
)
from environment.email_search.email_db import EmailDatabase
from environment.email_search.models import EmailOutcome
from tests.environment.email_search.builders import ANN, BOB, EVE, mail

from .conftest import PAGER_BODY, SECRET, question

# What may be asked


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("question", "", "must not be empty"),
        ("question", " \n\t\u2003", "must not be empty"),
        ("question", "x" * 2_001, "at most 2000 characters"),
        ("question", None, "valid string"),
        ("question", 7, "valid string"),
        ("question", "\ud800", "valid string"),
        ("inbox_address", "", "must not be empty"),
        ("inbox_address", "  ", "must not be empty"),
        ("inbox_address", "a" * 312 + "@enron.co", "at most 320 characters"),
        ("inbox_address", [ANN], "valid string"),
        ("query_date", "", "not a date of the form YYYY-MM-DD"),
        ("query_date", "2001-02-30", "not a day of the calendar"),
        ("query_date", "2001-2-3", "not a date of the form YYYY-MM-DD"),
        ("query_date", "2001-02-03\n", "not a date of the form YYYY-MM-DD"),
        ("query_date", "2001-02-03T00:00", "not a date of the form YYYY-MM-DD"),
        ("query_date", "0000-01-01", "not a day of the calendar"),
        ("query_date", "２００１-01-01", "not a d"),
        ("query_date", 20010203, "valid string"),
        ("inbox", ANN, "Extra inputs are not permitted"),
        ("answer", "Monday", "Extra inputs are not permitted"),
    ],
    ids=ascii,
)
def test_a_question_out_of_bounds_is_refused_and_the_field_named(
    field: str, value: Any, message: str
) -> None:
    with pytest.raises(ValidationError) as raised:
        question(**{field: value})
    (error,) = raised.value.errors()
    assert error["loc"] == (field,)
    assert message in error["msg"]


@pytest.mark.parametrize("missing", ["question", "inbox_address", "query_date"])
def test_every_field_of_a_question_is_needed(missing: str) -> None:
    fields = question().model_dump()
    del fields[missing]
    with pytest.raises(ValidationError, match="Field required"):
        Question(**fields)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("question", "x" * MAX_QUESTION_CHARS),
        ("question", "😀" * 2_000),
        ("question", " ? "),
        ("inbox_address", "a" * 311 + "@enron.co"),
        ("query_date", "2000-02-29"),
        ("query_date", "9999-12-31"),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_a_question_just_within_bounds_is_taken_as_it_is(field: str, value: str) -> None:
    assert getattr(question(**{field: value}), field) == value


def test_the_schema_tells_the_bounds_to_whoever_reads_it() -> None:
    schema = Question.model_json_schema()
    assert schema["properties"]["question"]["maxLength"] == 2_000
    assert schema["properties"]["query_date"]["format"] == "date"
    assert set(schema["required"]) == {"question", "inbox_address", "query_date"}
    assert schema["additionalProperties"] is False


# What counts as an answer


def outcome(answer: str | None, *source_ids: str, **changes: Any) -> EmailOutcome:
    fields = {"stop": StopReason.FINISHED, "answer": answer, "source_ids": source_ids}
    return EmailOutcome(**fields | changes)


def judge(
    given: EmailOutcome, inbox: str, database: EmailDatabase
) -> tuple[str | None, list[str], str | None]:
    """The answer, the ids of its mails, and the reason if there is none."""
    environment: Any = SimpleNamespace(database=database)
    of = finding(environment, question(inbox_address=inbox), given)
    ids = list(of.source_ids)
    assert ids == [one.message_id for one in of.sources]
    return of.answer, ids, of.reason


def cited(database: EmailDatabase, answer: str | None, *source_ids: str) -> list[str]:
    """The ids of the mails that the answer is taken to stand in."""
    given, ids, reason = judge(outcome(answer, *source_ids), ANN, database)
    assert (given, reason) == (answer, None)
    return ids


def why_not(database: EmailDatabase, answer: str | None, *source_ids: str, **changes: Any) -> str:
    given, ids, reason = judge(outcome(answer, *source_ids, **changes), ANN, database)
    assert (given, ids) == (None, [])
    assert reason
    return reason


def test_an_answer_that_stands_in_a_cited_mail_is_one(database: EmailDatabase) -> None:
    assert cited(database, "The pager is 555-1234", "<1@x>") == ["<1@x>"]


def test_the_mails_come_in_the_order_they_were_cited_each_once(database: EmailDatabase) -> None:
    ids = ("<2@x>", "<1@x>", "<2@x>", "<1@x>", "<1@x>")
    assert cited(database, "Lunch, pager", *ids) == ["<2@x>", "<1@x>"]


def test_whose_inbox_it_is_does_not_hang_on_how_it_is_written(database: EmailDatabase) -> None:
    given, _, _ = judge(outcome("555-1234", "<1@x>"), " ANN@X.com ", database)
    assert given == "555-1234"


REASONS = {
    StopReason.FINISHED: "the agent gave no answer",
    StopReason.NO_TOOL_CALL: "the agent stopped without giving an answer",
    StopReason.MALFORMED_CALL: "the agent made a malformed tool call",
    StopReason.OUT_OF_TURNS: "the agent used up its turns without finding an answer",
    StopReason.OVER_LENGTH: "the conversation exceeded the model's limit",
    StopReason.TIMEOUT: "the agent took too long",
    StopReason.ERROR: "the agent gave no answer",
}


@pytest.mark.parametrize("stop", StopReason)
def test_without_an_answer_the_reason_is_how_the_agent_ended(
    stop: StopReason,
) -> None:
    assert no_answer(outcome(None, stop=stop)).reason == REASONS[stop]
    assert no_answer(outcome(None, "<1@x>", stop=stop)).answer is None


@pytest.mark.parametrize("said", ["I don't know", "I don’t know.", "unknown", "", " ", "None"])
def test_an_agent_that_does_not_know_has_given_no_answer(
    database: EmailDatabase, said: str
) -> None:
    assert why_not(database, said, "<1@x>") == "the agent found no answer in this inbox"


@pytest.mark.parametrize(
    "source_ids",
    [(), ("",), ("<9@x>",), ("<3@x>",), ("<3@x>", "<9@x>", "1@x"), ("\ud800", "\0")],
    ids=ascii,
)
def test_an_answer_without_a_mail_of_this_inbox_is_none(
    database: EmailDatabase, source_ids: tuple[str, ...]
) -> None:
    reason = why_not(database, "The pager is 555-1234", *source_ids)
    assert reason == "the agent cited no email from this inbox"


@pytest.mark.parametrize(
    "answer", ["555-1235", "Nora Bel", "The vault opens on May 15", "the", "?!"]
)
def test_an_answer_that_is_not_in_the_cited_mail_is_none(
    database: EmailDatabase, answer: str
) -> None:
    reason = why_not(database, answer, "<1@x>")
    assert reason == "the cited emails do not support the agent's answer"


def test_an_answer_stands_in_the_cited_mails_and_no_others(database: EmailDatabase) -> None:
    why_not(database, "The pager is 555-1234", "<2@x>")
    assert cited(database, "The pager is 555-1234", "<2@x>", "<1@x>") == ["<2@x>", "<1@x>"]


@pytest.mark.parametrize("answer", [SECRET, "The vault opens with " + SECRET, "555-1234", "Lunch"])
@pytest.mark.parametrize("beside", [(), ("<1@x>",), ("<2@x>", "<1@x>")])
def test_a_mail_of_another_inbox_counts_as_one_that_does_not_exist(
    database: EmailDatabase, answer: str, beside: tuple[str, ...]
) -> None:
    elsewhere = judge(outcome(answer, "<3@x>", *beside), ANN, database)
    nowhere = judge(outcome(answer, "<9@x>", *beside), ANN, database)
    assert elsewhere == nowhere
    assert "<3@x>" not in elsewhere[1]
    if SECRET in answer:
        assert elsewhere[0] is None


def test_that_mail_counts_in_its_own_inbox(database: EmailDatabase) -> None:
    assert judge(outcome(SECRET, "<3@x>"), BOB, database)[:2] == (SECRET, ["<3@x>"])


# A source


def test_a_source_is_the_mail_with_the_answer_marked() -> None:
    cited = mail(1, subject="New pager", body=PAGER_BODY, cc=[EVE], bcc=["carl@x.com"])
    at = PAGER_BODY.index("pager")
    assert source(cited, "The pager is 555-1234") == Source(
        message_id="<1@x>",
        date="2001-05-14 09:00:00",
        sender=BOB,
        to=[ANN, EVE],
        subject="New pager",
        body=PAGER_BODY,
        marks=[(at, at + len("pager")), (at + len("pager is "), at + len("pager is 555-1234"))],
    )
