import random
import re

import pytest

from environment.email_search.email_db import EmailDatabase, build_database
from environment.email_search.matching import answers_match
from environment.email_search.sample.names import split_of
from environment.email_search.synthesis import own_text, synthesise, values_in

from .builders import ANN, BOB, EVE, mail

PHONE = "Call 713-853-1234."


def questions(mails, **limits):
    sizes = {}
    for m in mails:
        for address in m.participants():
            sizes[address] = sizes.get(address, 0) + 1
    return synthesise(lambda: iter(mails), sizes, **{"min_mails": 1} | limits)


def gold(scenarios, inbox=ANN):
    return [s.message_ids[0] for s in scenarios if s.inbox_address == inbox]


def collapsed(text):
    return " ".join(text.split())


@pytest.fixture(scope="module")
def mailbox():
    """Two hundred mails among eight people, with every kind of value, quotes and repeats."""
    rng = random.Random(7)
    people = [f"{name}@x.com" for name in "ann bob eve zoe kim lee max ida".split()]
    values = (
        lambda: f"Call 713-{rng.randint(200, 999)}-{rng.randint(1000, 9999)}.",
        lambda: f"The price is ${rng.randint(1, 99)},{rng.randint(100, 999)} net.",
        lambda: f"It is ${rng.randint(1, 9)}.{rng.randint(1, 9)} million in all.",
        lambda: f"We meet on May {rng.randint(1, 28)}.",
        lambda: f"It is in room {rng.randint(10, 99)}B.",
        lambda: f"Please contact Nora {rng.choice(['Bel', 'Oak', 'Fox'])} about it.",
        lambda: "Nothing new here.",
    )
    mails = []
    for n in range(200):
        sender, receiver = rng.sample(people, 2)
        quote = "\n-----Original Message-----\nCall 281-555-0000 by June 9." * (n % 5 == 0)
        body = " ".join(rng.choice(values)() for _ in range(2)) + f" {n}" + quote
        subject = rng.choice(["", "Re: "]) + f"topic number {rng.randint(1, 120)}"
        mails.append(mail(n, sender=sender, to=[receiver], subject=subject, body=body))
    return mails


# A mail's own text


@pytest.mark.parametrize(
    "quote",
    [
        "-----Original Message-----\n",
        " -----Original Message-----\n",
        "---------------------- Forwarded by Bob Oak/HOU/ECT on 05/14/2001 09:00 AM ----------\n",
        "- - - - - - -\nFrom: bob@x.com\n",
        "From: Bob Oak\nSent: Monday\n",
        "On Mon, 14 May 2001, Bob Oak wrote:\n",
        "On Mon, May 14, 2001 at 9:00 AM, a very long name indeed <bob@x.com>\nwrote:\n> ",
        "________________________________\n",
        "Bob Oak@ECT\n05/14/2001 09:00 AM\nTo: Ann\n",
        "> ",
        ">> ",
    ],
)
def test_what_is_quoted_is_not_a_mails_own_text(quote):
    assert PHONE not in own_text(f"I agree.\n\n{quote}{PHONE}\n")
    assert own_text(f"I agree.\n\n{quote}{PHONE}\n").startswith("I agree.")


@pytest.mark.parametrize(
    "text", [PHONE, f"-- \n{PHONE}", f"On Monday\n{PHONE}", f"a > b\n{PHONE}", ""]
)
def test_a_mail_without_a_quote_is_all_its_own_text(text):
    assert own_text(text) == text


# Values


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        (PHONE, "phone", "713-853-1234"),
        ("Call (713) 853-1234 now", "phone", "(713) 853-1234"),
        ("Call me (713-853-1234) now", "phone", "713-853-1234"),
        ("We pay $5,000 for it", "amount", "$5,000"),
        ("We pay $5,000, not more", "amount", "$5,000"),
        ("We pay $5,000.", "amount", "$5,000"),
        ("We pay $1.5 million.", "amount", "$1.5 million"),
        ("We pay $1.5\nmillion.", "amount", "$1.5 million"),
        ("We meet on May 14.", "date", "May 14"),
        ("We meet on May 14th, 2001.", "date", "May 14th, 2001"),
        ("We meet in room 12B.", "place", "room 12B"),
        ("We meet in Conference Room EB3321", "place", "Conference Room EB3321"),
        ("We meet at EB 3321", "place", "EB 3321"),
        ("Please contact Nora Bel.", "person", "Nora Bel"),
        ("You can speak with\nNora Bel", "person", "Nora Bel"),
    ],
)
def test_a_value_is_found_as_it_stands_in_the_text(text, kind, value):
    assert list(values_in(text)) == [(kind, value)]


@pytest.mark.parametrize(
    "text",
    [
        "Call 713-853-1234 or 713-853-1235.",
        "It is $5,000 or $6,000.",
        "On May 14 or May 15.",
        "In room 12B or in room 12C.",
        "Contact Nora Bel or call Tim Oak.",
        "May I ask?",
        "It costs $ nothing",
        "1-713-853-12345",
        "in room five",
        "contact me",
        "",
    ],
)
def test_a_text_with_several_values_of_a_kind_or_none_yields_nothing(text):
    assert list(values_in(text)) == []


def test_a_value_said_twice_is_one_value():
    assert list(values_in(f"{PHONE} Again: 713-853-1234!")) == [("phone", "713-853-1234")]


@pytest.mark.parametrize(
    "amount",
    ["$5 million", "$5 Million", "$5million", "$5MM", "$5 MM", "$5M", "$5m", "$5k", "$5K", "$5bn"],
)
def test_an_amount_is_taken_with_its_unit_or_not_at_all(amount):
    values = [value for _, value in values_in(f"We pay {amount} for it.")]
    assert all(answers_match(value, amount) for value in values)


# Questions


def test_a_question_names_sender_and_subject_and_its_answer_stands_in_the_mail():
    mails = [mail(1, sender="nora.bel@x.com", subject="RE: Fw: new number", body=PHONE)]
    (made,) = (s for s in questions(mails) if s.inbox_address == ANN)
    assert "Nora Bel" in made.question
    assert '"new number"' in made.question
    assert (made.answer, made.kind, made.message_ids) == ("713-853-1234", "phone", ("<1@x>",))
    assert made.query_date == "2001-06-13"


@pytest.mark.parametrize(
    ("sender", "who"),
    [
        ("nora.bel@x.com", "Nora Bel"),
        ("nora_bel@x.com", "Nora Bel"),
        ("nora@x.com", "Nora"),
        ("nora.2bel@x.com", "nora.2bel"),
        ("n..bel@x.com", "N Bel"),
    ],
)
def test_a_sender_is_named_as_a_person_where_the_address_is_one(sender, who):
    made = questions([mail(1, sender=sender, subject="new number", body=PHONE)])
    assert all(re.search(rf"\b{re.escape(who)} |{re.escape(who)}$", s.question) for s in made)
    assert made


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"subject": "Re: New Number"},
        {"date": ""},
        {"body": "nothing to ask about"},
        {"to": ["Ann@X.com"]},
        {"sender": "Bob@X.com"},
    ],
    ids=str,
)
def test_a_sender_and_subject_that_name_two_mails_of_an_inbox_yield_no_question(tmp_path, other):
    first = {"subject": "new number", "body": PHONE}
    path = tmp_path / "mails.db"
    build_database(path, [mail(1, **first), mail(2, **first | {"body": PHONE + "!"} | other)])
    database = EmailDatabase(path)
    made = synthesise(database.emails, database.inboxes(), min_mails=1)
    database.close()
    assert gold(made) == []


@pytest.mark.parametrize(
    "other", [{"sender": EVE}, {"subject": "old number"}, {"to": [EVE]}], ids=str
)
def test_another_sender_subject_or_inbox_does_not_matter(other):
    first = {"subject": "new number", "body": PHONE}
    made = questions([mail(1, **first), mail(2, **first | other)])
    assert "<1@x>" in gold(made)


@pytest.mark.parametrize(
    "fields",
    [
        {"subject": "number"},
        {"subject": "Re: number"},
        {"subject": ""},
        {"subject": "a very long subject " * 4},
        {"date": ""},
        {"body": "nothing to ask about"},
        {"body": f"I agree.\n-----Original Message-----\n{PHONE}"},
        {"sender": ANN, "to": [ANN]},
    ],
    ids=str,
)
def test_a_mail_that_makes_no_good_question_yields_none(fields):
    made = questions([mail(1, **{"subject": "new number", "body": PHONE} | fields)])
    assert gold(made) == []


def test_what_an_inbox_sent_itself_is_not_asked_of_it():
    made = questions([mail(1, sender=BOB, to=[ANN], subject="new number", body=PHONE)])
    assert {s.inbox_address for s in made} == {ANN}


def test_every_answer_is_the_only_value_of_its_kind_in_its_mails_own_text(mailbox):
    mails = {m.message_id: m for m in mailbox}
    made = questions(mailbox)
    assert {s.kind for s in made} == {"phone", "amount", "date", "place", "person"}
    for s in made:
        m = mails[s.message_ids[0]]
        assert s.answer in collapsed(own_text(m.body))
        assert (s.kind, s.answer) in values_in(m.body)
        assert answers_match(s.answer, s.answer)
        assert s.inbox_address in m.participants()
        assert not answers_match("281-555-0000", s.answer)


def test_every_question_points_at_one_mail_of_its_inbox(mailbox):
    for s in questions(mailbox):
        subject = s.question.split('"')[1]
        sender = next(m.sender for m in mailbox if m.message_id == s.message_ids[0])
        named = [
            m.message_id
            for m in mailbox
            if s.inbox_address in m.participants()
            and m.sender == sender
            and m.subject.removeprefix("Re: ") == subject
        ]
        assert named == list(s.message_ids)


def test_the_same_mails_make_the_same_questions(mailbox):
    assert questions(mailbox) == questions(mailbox)


def test_ids_are_unique(mailbox):
    made = questions(mailbox)
    assert len({s.id for s in made}) == len(made)


# Which inboxes, and how many questions


def test_an_inbox_is_in_one_split_that_its_address_decides(mailbox):
    made = questions(mailbox)
    assert {s.split for s in made} == {"train", "test"}
    assert all(s.split == split_of(s.inbox_address) for s in made)


def test_about_one_inbox_in_five_is_kept_for_tests():
    splits = [split_of(f"person{n}@x.com") for n in range(2_000)]
    assert 0.17 < splits.count("test") / len(splits) < 0.23


def test_only_the_largest_inboxes_of_each_split_are_asked_about(mailbox):
    made = questions(mailbox, max_inboxes=1)
    sizes = {
        a: sum(a in m.participants() for m in mailbox) for m in mailbox for a in m.participants()
    }
    for split in ("train", "test"):
        (inbox,) = {s.inbox_address for s in made if s.split == split}
        assert sizes[inbox] == max(n for a, n in sizes.items() if split_of(a) == split)


def test_small_inboxes_are_left_out(mailbox):
    assert questions(mailbox, min_mails=10_000) == []


@pytest.mark.parametrize("per_inbox", [1, 3, 5, 10])
def test_an_inbox_gets_no_more_questions_than_asked_for(mailbox, per_inbox):
    made = questions(mailbox, per_inbox=per_inbox)
    for inbox in {s.inbox_address for s in made}:
        assert len(gold(made, inbox)) <= per_inbox


def test_questions_are_spread_over_their_kinds(mailbox):
    made = questions(mailbox, per_inbox=10)
    for inbox in {s.inbox_address for s in made}:
        kinds = [s.kind for s in made if s.inbox_address == inbox]
        assert all(kinds.count(kind) <= 2 for kind in kinds)


def test_no_mails_make_no_questions():
    assert synthesise(lambda: iter(()), {}) == []
