"""The check that an answer stands in the mails it cites, and where in them."""

from __future__ import annotations

from typing import Any
from unicodedata import combining

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environment.email_search.evidence import marks, stands_in
from environment.email_search.matching import plain

from .builders import EVE, mail

Fields = dict[str, Any]

IN_THE_MAIL: list[tuple[str, Fields]] = [
    # numbers and amounts, in whatever form
    ("It is $5,000.", {"body": "the cost: 5,000 dollars"}),
    ("$1.5 million", {"body": "We paid 1,500,000 for it."}),
    ("42", {"body": "There are 42 of us."}),
    # dates and times
    ("May 14, 2001", {"body": "We meet on 5/14/2001."}),
    ("on the 3rd of June", {"body": "It is due June 3, 2002."}),
    ("at 7:30 pm", {"body": "Dinner is at 19:30."}),
    ("10 a.m.", {"body": "See you at 10:00."}),
    # phone numbers and codes
    ("(713) 853-1234", {"body": "Call 713.853.1234!"}),
    ("flight ab1234", {"body": "I am on AB1234"}),
    # header lines
    ("May 14, 2001", {"date": "2001-05-14 09:00:00", "body": ""}),
    ("Carla Jones", {"sender": "carla.jones@x.com", "body": ""}),
    ("Nora", {"to": ["nora@x.com"], "body": ""}),
    ("Eve", {"cc": [EVE], "body": ""}),
    ("The Hartfield deal", {"subject": "RE: hartfield deal", "body": ""}),
    ("room 4711", {"subject": "your room: 4711", "body": ""}),
    # words, without case, accents and filler
    ("JOSE NUNEZ", {"body": "Ask José Núñez."}),
    ("It is the Hartfield.", {"body": "We stay at Hartfield"}),
    ("田中", {"body": "田中 さん"}),
]

NOT_IN_THE_MAIL: list[tuple[str, Fields]] = [
    ("It is $5,001.", {"body": "the cost: 5,000 dollars"}),
    ("$5 million", {"body": "We paid 5,000 for it."}),
    ("43", {"body": "There are 42 of us, or 143."}),
    ("May 15, 2001", {"body": "We meet on 5/14/2001."}),
    ("May 14, 2002", {"body": "We meet on 5/14/2001."}),
    ("at 7:30 am", {"body": "Dinner is at 19:30."}),
    ("(713) 853-1235", {"body": "Call 713.853.1234!"}),
    ("flight AB1235", {"body": "I am on AB1234"}),
    # one value of two
    ("42 or 43", {"body": "There are 42 of us."}),
    # the words do not make up for the value
    ("Dinner is at Hartfield on May 15", {"body": "Dinner is at Hartfield on May 14"}),
    # in no header line that the agent was shown
    ("Eve", {"bcc": [EVE]}),
    ("9:00", {"date": "2001-05-14 09:00:00"}),
    ("<1@x> is the number 77", {"file_name": "77"}),
    ("Nora Bel", {"body": "Nobody is named here."}),
    ("中田", {"body": "田中 さん"}),
]


@pytest.mark.parametrize(("answer", "fields"), IN_THE_MAIL)
def test_an_answer_whose_values_and_words_are_in_the_mail_stands_in_it(
    answer: str, fields: Fields
) -> None:
    assert stands_in(answer, [mail(1, **fields)])


@pytest.mark.parametrize(("answer", "fields"), NOT_IN_THE_MAIL)
def test_an_answer_that_was_made_up_does_not_stand_in_the_mail(answer: str, fields: Fields) -> None:
    assert not stands_in(answer, [mail(1, **fields)])


@pytest.mark.parametrize(
    ("answer", "stands"),
    [
        ("alpha beta", True),
        ("alpha beta north south", True),
        ("alpha north", True),
        ("alpha north south", False),
        ("alpha alpha alpha north south", False),
        ("alpha beta north north north", True),
        ("north", False),
    ],
)
def test_half_of_the_words_must_be_there_each_counted_once(answer: str, stands: bool) -> None:
    assert stands_in(answer, [mail(1, body="alpha beta gamma")]) is stands


def test_every_value_must_be_there_beside_half_of_the_words() -> None:
    cited = [mail(1, body="alpha beta on May 14")]
    assert stands_in("alpha north on May 14", cited)
    assert not stands_in("north south on May 14", cited)


@pytest.mark.parametrize("answer", ["", " ", "?!", "the", "It is in the", "😀", "\ud800", "_"])
def test_an_answer_without_content_stands_nowhere(answer: str) -> None:
    assert not stands_in(answer, [mail(1, body=f"the It is in {answer}")])


@pytest.mark.parametrize("answer", ["", "Monday", "42", "Monday 42"])
def test_nothing_stands_in_no_mails(answer: str) -> None:
    assert not stands_in(answer, [])


def test_the_answer_may_be_spread_over_the_mails() -> None:
    both = [mail(1, body="It is Nora."), mail(2, body="Her number is 4711.")]
    assert stands_in("Nora, 4711", both)
    assert not stands_in("Nora, 4711", both[:1])
    assert not stands_in("Nora, 4711", both[1:])


@pytest.mark.parametrize(
    ("answer", "stands", "mails"),
    [
        ("May 3", False, [mail(1, subject="Dinner in May", body="3 people come.")]),
        ("3 people", True, [mail(1, subject="Dinner in May", body="3 people come.")]),
        ("May 3", False, [mail(1, body="It is in May"), mail(2, date="", sender="3@x.com")]),
    ],
)
def test_the_end_of_a_line_of_the_header_and_of_a_mail_ends_a_value(
    answer: str, stands: bool, mails: list[Any]
) -> None:
    assert stands_in(answer, mails) is stands


def marked(answer: str, text: str) -> list[str]:
    return [text[start:end] for start, end in marks(answer, text)]


MARKED = [
    ("Nora Bel", "Ask Nora, or Tim Bel.", ["Nora", "Bel"]),
    ("Hartfield", "hartfield, HARTFIELD and Hartfields", ["hartfield, HARTFIELD"]),
    # case, accents, apostrophes
    ("jose", "José says", ["José"]),
    ("STRASSE", "in der Straße 5", ["Straße"]),
    ("Nora's team", "the team is Nora's", ["team", "Nora"]),
    ("O'Kenson", "Mr. O’Kenson said", ["O’Kenson"]),
    # values
    ("$5,000", "for $5,000 a day", ["5,000"]),
    ("713-853-1234", "(713) 853-1234!", ["713) 853-1234"]),
    ("flight AB1234", "on ab1234.", ["ab1234"]),
    ("10 am", "at 10, not 11", ["10"]),
    ("May 14, 2001", "2001-05-14", ["2001", "14"]),
    # neighbours are one, and what stands further apart is not
    ("alpha beta gamma", "alpha beta, gamma", ["alpha beta, gamma"]),
    ("alpha beta", "alpha - beta", ["alpha - beta"]),
    ("alpha beta", "alpha -- beta", ["alpha", "beta"]),
    ("alpha beta", "alpha\nbeta", ["alpha\nbeta"]),
    ("alpha beta", "alpha north beta", ["alpha", "beta"]),
    # whole words only
    ("cat", "category cat_s concat", ["cat"]),
    ("5", "50 5 15 5x", ["5"]),
    # nothing to mark
    ("the of in", "the of in", []),
    ("", "anything", []),
    ("?!", "?!", []),
    ("Nora", "", []),
    ("Nora", "Tim", []),
]


@pytest.mark.parametrize(("answer", "text", "expected"), MARKED)
def test_the_words_of_the_answer_are_marked(answer: str, text: str, expected: list[str]) -> None:
    assert marked(answer, text) == expected


def test_marks_count_code_points() -> None:
    text = "😀👍🏽 Núñez →→ Straße"
    assert marks("nunez strasse", text) == [(4, 9), (13, 19)]
    assert marked("nunez strasse", text) == ["Núñez", "Straße"]


def test_the_month_of_a_date_is_marked_with_its_day() -> None:
    assert marked("May 14", "It is on May 14, Monday.") == ["May 14"]


def test_an_ordinal_is_marked_for_its_number() -> None:
    assert marked("May 14", "It is on the 14th.") == ["14th"]


@pytest.mark.parametrize("text", ["Mu\u0308ller", "Jose\u0301"])
def test_a_word_with_an_accent_of_its_own_is_marked_whole(text: str) -> None:
    assert marked(plain(text), text) == [text]


any_text = st.text(st.characters(exclude_categories=()), max_size=60)
near_text = st.lists(
    st.sampled_from(
        "Nora nóra BEL Bel's o'k May 14 14th 5,000 $5 10:30 AB12 the of a _ __ a_b - -- … 😀 é e\u0301 "
        "ß SS ﬁ ½ ٤ 田中 \n \t \u200b".split(" ")
    ),
    max_size=14,
).flatmap(lambda parts: st.sampled_from(["", " ", "  "]).map(lambda gap: gap.join(parts)))


@given(answer=any_text | near_text, text=any_text | near_text)
def test_marks_are_ranges_of_whole_words_in_order(answer: str, text: str) -> None:
    ranges = marks(answer, text)
    edges = [edge for pair in ranges for edge in pair]
    assert edges == sorted(set(edges))
    for start, end in ranges:
        assert 0 <= start < end <= len(text)
        assert text[start].isalnum()
        assert text[end - 1].isalnum() or combining(text[end - 1])
        assert start == 0 or not text[start - 1].isalnum()
        assert end == len(text) or not text[end].isalnum()


words = st.lists(
    st.sampled_from(["Nora", "BEL", "hartfield", "Gil", "Óle", "x7", "42"]), min_size=1
)


@given(answer=words, other=words)
def test_every_word_of_the_answer_is_marked_wherever_it_stands(
    answer: list[str], other: list[str]
) -> None:
    text = " | ".join([*other, *answer])
    inside = "".join(marked(" ".join(answer), text)).casefold()
    outside = text
    for start, end in reversed(marks(" ".join(answer), text)):
        outside = outside[:start] + outside[end:]
    for word in answer:
        assert word.casefold() in inside
        assert word not in outside


@given(answer=any_text | near_text, body=any_text | near_text)
def test_what_is_copied_from_a_mail_stands_in_it(answer: str, body: str) -> None:
    copied = f"Nora . {answer} . Bel"  # apart from what is around it, and not only filler
    assert stands_in(copied, [mail(1, body=f"{body} . {copied} . {body}")])
