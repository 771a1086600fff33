"""What may be asked of an inbox, and what counts as an answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from environment.base import StopReason
from environment.deployable import Finding
from environment.email_search import EmailSearchEnvironment
from environment.email_search.answering import (
    MAX_QUESTION_CHARS,
    Question,
    Source,
    finding,
    question_of,
    source,
)
from environment.email_search.config import EmailSearchConfig
from environment.email_search.email_db import EmailDatabase, build_database
from environment.email_search.models import EmailOutcome
from tests.environment.email_search.builders import (
    ANN,
    BOB,
    EVE,
    MAILS,
    PAGER_BODY,
    SECRET,
    mail,
    question,
    scenario,
)


@pytest.fixture
def inboxes(tmp_path: Path) -> Iterator[EmailSearchEnvironment]:
    build_database(tmp_path / "mails.db", MAILS)
    database = EmailDatabase(tmp_path / "mails.db")
    opened = EmailSearchEnvironment(database, [], EmailSearchConfig(), max_turns=6)
    yield opened
    opened.close()


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


def found(
    inboxes: EmailSearchEnvironment, answer: str | None, *source_ids: str, inbox: str = ANN
) -> Finding:
    asked = question(inbox_address=inbox)
    return finding(inboxes, asked, outcome(answer, *source_ids))


def cited(inboxes: EmailSearchEnvironment, answer: str, *source_ids: str) -> list[str]:
    """The ids of the mails that the answer is taken to stand in."""
    what = found(inboxes, answer, *source_ids)
    assert (what.answer, what.reason) == (answer, None)
    assert [one.message_id for one in what.sources] == list(what.source_ids)
    return list(what.source_ids)


def why_not(inboxes: EmailSearchEnvironment, answer: str | None, *source_ids: str) -> str:
    what = found(inboxes, answer, *source_ids)
    assert (what.answer, list(what.sources), list(what.source_ids)) == (None, [], [])
    assert what.reason
    return what.reason


def test_an_answer_that_stands_in_a_cited_mail_is_one(inboxes: EmailSearchEnvironment) -> None:
    assert cited(inboxes, "The pager is 555-1234", "<1@x>") == ["<1@x>"]


def test_the_mails_come_in_the_order_they_were_cited_each_once(
    inboxes: EmailSearchEnvironment,
) -> None:
    ids = ("<2@x>", "<1@x>", "<2@x>", "<1@x>", "<1@x>")
    assert cited(inboxes, "Lunch, pager", *ids) == ["<2@x>", "<1@x>"]


def test_whose_inbox_it_is_does_not_hang_on_how_it_is_written(
    inboxes: EmailSearchEnvironment,
) -> None:
    assert found(inboxes, "555-1234", "<1@x>", inbox=" ANN@X.com ").answer == "555-1234"


@pytest.mark.parametrize("said", ["I don't know", "I don’t know.", "unknown", "", " ", "None"])
def test_an_agent_that_does_not_know_has_given_no_answer(
    inboxes: EmailSearchEnvironment, said: str
) -> None:
    assert why_not(inboxes, said, "<1@x>") == "the agent found no answer in this inbox"


@pytest.mark.parametrize(
    "source_ids",
    [(), ("",), ("<9@x>",), ("<3@x>",), ("<3@x>", "<9@x>", "1@x"), ("\ud800", "\0")],
    ids=ascii,
)
def test_an_answer_without_a_mail_of_this_inbox_is_none(
    inboxes: EmailSearchEnvironment, source_ids: tuple[str, ...]
) -> None:
    reason = why_not(inboxes, "The pager is 555-1234", *source_ids)
    assert reason == "the agent cited no mail of this inbox for its answer"


@pytest.mark.parametrize(
    "answer", ["555-1235", "Nora Bel", "The vault opens on May 15", "the", "?!"]
)
def test_an_answer_that_is_not_in_the_cited_mail_is_none(
    inboxes: EmailSearchEnvironment, answer: str
) -> None:
    reason = why_not(inboxes, answer, "<1@x>")
    assert reason == "the agent's answer does not stand in the mails that it cited"


def test_an_answer_stands_in_the_cited_mails_and_no_others(inboxes: EmailSearchEnvironment) -> None:
    why_not(inboxes, "The pager is 555-1234", "<2@x>")
    assert cited(inboxes, "The pager is 555-1234", "<2@x>", "<1@x>") == ["<2@x>", "<1@x>"]


@pytest.mark.parametrize("answer", [SECRET, "The vault opens with " + SECRET, "555-1234", "Lunch"])
@pytest.mark.parametrize("beside", [(), ("<1@x>",), ("<2@x>", "<1@x>")])
def test_a_mail_of_another_inbox_counts_as_one_that_does_not_exist(
    inboxes: EmailSearchEnvironment, answer: str, beside: tuple[str, ...]
) -> None:
    elsewhere = found(inboxes, answer, "<3@x>", *beside)
    nowhere = found(inboxes, answer, "<9@x>", *beside)
    assert elsewhere == nowhere
    assert "<3@x>" not in elsewhere.source_ids
    if SECRET in answer:
        assert elsewhere.answer is None


def test_that_mail_counts_in_its_own_inbox(inboxes: EmailSearchEnvironment) -> None:
    what = found(inboxes, SECRET, "<3@x>", inbox=BOB)
    assert (what.answer, what.source_ids) == (SECRET, ["<3@x>"])


def test_a_scenario_is_a_question_without_its_answer() -> None:
    asked = question_of(scenario(1, question="When?", answer="Monday"))
    assert asked == question("When?")
    assert "Monday" not in asked.model_dump_json()


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
