"""Which questions somebody wrote make scenarios."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environment.email_search.drafts import (
    Deduplicator,
    Draft,
    fault,
    gives_answer_away,
    scenario_of,
)
from environment.email_search.models import EmailScenario
from environment.email_search.sample.names import split_of

from .builders import ANN, BOB, EVE, mail, scenario

MAILS = {
    "mail-1": mail(1, subject="Falcon", body="The Falcon review with Lee is on May 3 in room 12B."),
    "mail-2": mail(2, subject="Osprey", body="Osprey costs $4,500 a month."),
}


def draft(**fields: Any) -> Draft:
    good = {
        "question": "When is the Falcon review?",
        "answer": "May 3",
        "message_ids": ["mail-1"],
        "how_realistic": 0.8,
        "query_date": "2001-06-01",
    }
    return Draft.model_validate(good | fields)


def fault_of(**fields: Any) -> str:
    return fault(draft(**fields), MAILS, 0.5)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"answer": "On May 3rd, 2001"},
        {"answer": "Room 12B", "question": "Where is the Falcon review?"},
        {"answer": "$4500", "question": "What does Osprey cost?", "message_ids": ["mail-2"]},
        {"message_ids": ["mail-1", "mail-1"]},
        {"how_realistic": 0.5},
        {"query_date": "2001-05-14"},
        {"question": "Which date does Bob name in the mail about Falcon?"},
        {"question": "Did Bob mail the Falcon team, and when is the review?"},
    ],
)
def test_a_good_draft_has_no_fault(fields: dict[str, Any]) -> None:
    assert fault_of(**fields) == ""


@pytest.mark.parametrize(
    ("reason", "fields"),
    [
        ("no_gold_mail", {"message_ids": []}),
        ("unknown_mail", {"message_ids": ["mail-3"]}),
        ("unknown_mail", {"message_ids": ["<1@x>"]}),
        ("unknown_mail", {"message_ids": ["mail-1", "mail-3"]}),
        ("several_gold_mails", {"message_ids": ["mail-1", "mail-2"]}),
        ("no_question", {"question": " \n"}),
        ("no_answer", {"answer": "I do not know."}),
        ("too_long", {"question": "When is the review? " * 20}),
        ("too_long", {"answer": "May 3 " * 40}),
        ("names_the_mail", {"question": "When is the review in this email?"}),
        ("names_the_mail", {"question": "When is the review in the e-mail?"}),
        ("names_the_mail", {"question": "According to the message, when is it?"}),
        ("names_the_mail", {"question": "What is in the third mail?"}),
        ("names_the_mail", {"question": "What does mail-1 say?"}),
        ("names_the_mail", {"question": "What does <1.2.JavaMail.evans@thyme> say?"}),
        ("gives_answer_away", {"question": "Is the Falcon review on 3 May or 4 May?"}),
        ("not_in_gold_mail", {"answer": "May 4"}),
        ("not_in_gold_mail", {"message_ids": ["mail-2"]}),
        ("asked_before_the_mail", {"query_date": "2001-05-13"}),
        ("unrealistic", {"how_realistic": 0.49}),
    ],
)
def test_a_fault_is_found(reason: str, fields: dict[str, Any]) -> None:
    assert fault_of(**fields) == reason


@pytest.mark.parametrize(
    ("question", "answer", "away"),
    [
        ("Does Lee come?", "Lee", True),
        ("Does Lee come on May 3?", "Lee comes on May 3", False),
        ("Is it ... or not?", "...", True),
        ("Who comes on 5/3/2001?", "Lee, on May 3", False),
        ("Was it $4,500 for Osprey?", "4500 dollars", False),
        ("Was it $4,500 for Osprey?", "Osprey: $4500.00", True),
    ],
)
def test_an_answer_is_given_away_when_all_of_it_stands_in_the_question(
    question: str, answer: str, away: bool
) -> None:
    assert gives_answer_away(question, answer) is away


@pytest.mark.parametrize(
    ("other", "again"),
    [
        ({"question": "WHEN is the review", "message_ids": ("<2@x>",), "answer": "Friday"}, True),
        ({"question": "On which day?", "answer": "monday!"}, True),
        ({"question": "On which day?", "answer": "Friday"}, False),
        ({"question": "On which day?", "message_ids": ("<2@x>",)}, False),
        ({"message_ids": ("<2@x>",), "inbox_address": BOB}, False),
    ],
)
def test_the_same_question_and_the_same_answer_of_a_mail_are_seen_again(
    other: dict[str, Any], again: bool
) -> None:
    duplicates = Deduplicator()
    assert not duplicates.is_duplicate(scenario())
    assert duplicates.is_duplicate(scenario(**other)) is again


def test_an_id_follows_from_the_content_alone() -> None:
    one = scenario_of(draft(), MAILS, ANN)
    assert one.id == scenario_of(draft(how_realistic=0.9), dict(reversed(MAILS.items())), ANN).id
    others = [
        scenario_of(draft(question="Which day?"), MAILS, ANN),
        scenario_of(draft(answer="3 May"), MAILS, ANN),
        scenario_of(draft(message_ids=["mail-2"]), MAILS, ANN),
        scenario_of(draft(), MAILS, EVE),
    ]
    assert len({s.id for s in [one, *others]}) == 5


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


@given(
    st.lists(
        st.tuples(
            st.builds(
                draft,
                question=texts,
                answer=texts | st.sampled_from(["May 3", "Lee", "$4,500", "room 12B"]),
                message_ids=st.lists(st.sampled_from(["mail-1", "mail-2", "mail-3"]), max_size=2),
                how_realistic=st.floats(0, 1),
            ),
            st.emails(),
        )
    )
)
def test_whatever_is_written_each_inbox_lies_in_one_split_and_ids_differ(
    written: list[tuple[Draft, str]],
) -> None:
    duplicates = Deduplicator()
    kept: list[EmailScenario] = []
    for one, inbox in written:
        if not fault(one, MAILS, 0.0) and not duplicates.is_duplicate(
            made := scenario_of(one, MAILS, inbox)
        ):
            kept.append(made)
    of = {split: {s.inbox_address for s in kept if s.split == split} for split in ("train", "test")}
    assert not of["train"] & of["test"]
    assert all(s.split == split_of(s.inbox_address) for s in kept)
    assert len({s.id for s in kept}) == len(kept)
    assert all(len(s.message_ids) == 1 for s in kept)
