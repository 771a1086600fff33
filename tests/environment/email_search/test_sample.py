import os
import random
import re
import signal
import subprocess
import sys
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path

import pytest

from environment.email_search.matching import answers_match
from environment.email_search.sample.corpus import address_of, generate, scenarios_of
from environment.email_search.sample.facts import KINDS
from environment.email_search.sample.names import NamePool, split_of

ROOT = Path(__file__).parents[3]
SEEDS = [0, 1, 2]


@pytest.fixture(scope="module", params=SEEDS)
def inboxes(request):
    return generate(request.param, train_inboxes=6, test_inboxes=4, mails_per_inbox=200)


@contextmanager
def time_limit(seconds):
    """Stops a loop that would never end."""

    def give_up(*_):
        raise TimeoutError(f"longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# The corpus


def test_the_same_seed_makes_the_same_mails_and_scenarios():
    one, other = (generate(3, train_inboxes=2, test_inboxes=2, mails_per_inbox=50) for _ in "ab")
    assert one == other


def test_another_process_makes_the_same_mails_and_scenarios():
    code = (
        "from environment.email_search.sample.corpus import generate;"
        "print(generate(3, train_inboxes=2, test_inboxes=2, mails_per_inbox=50)[0].mails)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONHASHSEED": "4711"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    here = generate(3, train_inboxes=2, test_inboxes=2, mails_per_inbox=50)
    assert done.stdout == f"{here[0].mails}\n", done.stderr


def test_different_seeds_make_different_people_mails_and_ids():
    one, other = (generate(seed, train_inboxes=2, test_inboxes=2) for seed in (1, 2))
    for of in (
        lambda boxes: {box.address for box in boxes},
        lambda boxes: {m.body for box in boxes for m in box.mails if len(m.body) > 80},
        lambda boxes: {s.question for s in scenarios_of(boxes)},
    ):
        assert of(one).isdisjoint(of(other))
    assert [m.message_id for m in one[0].mails] != [m.message_id for m in other[0].mails]


@pytest.mark.parametrize("train", [1, 2, 5])
@pytest.mark.parametrize("test", [1, 4])
@pytest.mark.parametrize("mails", [20, 100])
def test_there_are_as_many_inboxes_and_mails_as_asked_for(train, test, mails):
    made = generate(0, train_inboxes=train, test_inboxes=test, mails_per_inbox=mails)
    assert [box.split for box in made] == ["train"] * train + ["test"] * test
    assert all(mails <= len(box.mails) <= mails + 3 for box in made)
    assert all(box.scenarios for box in made)
    assert len({box.address for box in made}) == len(made)


@pytest.mark.parametrize("mails", [700, 3_000])
def test_an_inbox_larger_than_its_world_has_facts_is_written_too(mails):
    with time_limit(20):
        made = generate(0, train_inboxes=1, test_inboxes=1, mails_per_inbox=mails)
    assert all(mails <= len(box.mails) <= mails + 3 for box in made)


def test_every_message_id_is_given_once(inboxes):
    ids = [m.message_id for box in inboxes for m in box.mails]
    assert len(set(ids)) == len(ids)


def test_mails_are_dated_and_in_order_and_before_the_day_of_the_questions(inboxes):
    for box in inboxes:
        dates = [m.date for m in box.mails]
        assert dates == sorted(dates)
        assert "2000-01-01" <= dates[0] <= dates[-1] < min(s.query_date for s in box.scenarios)


def test_every_mail_lies_in_its_inbox(inboxes):
    assert all(box.address in m.participants() for box in inboxes for m in box.mails)


def test_an_inbox_hears_of_every_kind_of_fact(inboxes):
    for split in ("train", "test"):
        kinds = {f.kind for box in inboxes if box.split == split for f in box.facts}
        assert kinds == set(KINDS)


# Names


def names_of(inboxes):
    """Surnames, projects, companies, cities and hotels that the inboxes' mails talk about."""
    names = set()
    for box in inboxes:
        names |= {fact.entity for fact in box.facts}
        for m in box.mails:
            names |= {address.split("@")[0].split(".")[1] for address in m.participants()}
        for fact, s in zip(box.facts, box.scenarios, strict=True):
            if fact.kind in ("flight", "hotel"):
                names |= set(re.findall(r" (?:to|in) ([A-Z][\w']+)\?$", s.question))
            if fact.kind == "lead":
                names.add(s.answer.split()[-1])
            if fact.kind == "hotel" and not s.answer[-1].isdigit():
                names.add(s.answer)
    return {name.lower() for name in names}


def words_of(inboxes):
    texts = (
        " ".join([m.subject, m.body, m.sender, *m.to, *m.cc]) for box in inboxes for m in box.mails
    )
    return {word for text in texts for word in re.findall(r"[a-z']+", text.lower())}


def test_no_name_of_the_test_inboxes_stands_in_a_training_mail(inboxes):
    train = [box for box in inboxes if box.split == "train"]
    test = [box for box in inboxes if box.split == "test"]
    names = names_of(test)
    assert len(names) > 40
    assert names & words_of(test) == names
    assert names & words_of(train) == set()


def test_training_questions_name_no_test_name(inboxes):
    names = names_of([box for box in inboxes if box.split == "test"])
    for s in scenarios_of([box for box in inboxes if box.split == "train"]):
        assert names.isdisjoint(re.findall(r"[a-z']+", f"{s.question} {s.answer}".lower()))


def test_about_one_name_in_five_is_kept_for_tests():
    splits = [split_of(f"name{n}") for n in range(2_000)]
    assert 0.17 < splits.count("test") / len(splits) < 0.23


def test_a_name_is_in_the_same_half_in_any_case():
    assert {split_of(name) for name in ("Hartfield", "HARTFIELD", "hartfield")} == {
        split_of("Hartfield")
    }


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_pool_draws_names_of_its_half_and_none_twice(split):
    pool = NamePool(random.Random(1), split)
    names = [pool.name() for _ in range(300)] + [pool.person().split()[-1] for _ in range(100)]
    assert {split_of(name) for name in names} == {split}
    assert len(set(names)) == len(names)
    assert all(name[0].isupper() and " " not in name for name in names)


@pytest.mark.parametrize(
    ("person", "address"),
    [("Nora Bel", "nora.bel@harbor.example"), ("Tim O'Kenson", "tim.okenson@harbor.example")],
)
def test_an_address_is_first_name_dot_surname(person, address):
    assert address_of(person) == address


# Scenarios


def test_every_scenario_belongs_to_its_inbox_and_split(inboxes):
    for box in inboxes:
        assert len(box.facts) == len(box.scenarios)
        for s in box.scenarios:
            assert (s.inbox_address, s.split) == (box.address, box.split)
    scenarios = scenarios_of(inboxes)
    assert len({s.id for s in scenarios}) == len(scenarios)


def test_every_answer_stands_in_its_gold_mail_and_matches_itself(inboxes):
    for box in inboxes:
        mails = {m.message_id: m for m in box.mails}
        for s in box.scenarios:
            (gold,) = s.message_ids
            assert s.answer in mails[gold].body
            assert box.address in mails[gold].participants()
            assert answers_match(s.answer, s.answer)


def test_a_question_does_not_hold_its_answer(inboxes):
    assert not [s for s in scenarios_of(inboxes) if s.answer in s.question]


def test_a_question_names_the_entity_that_its_mail_names(inboxes):
    for box in inboxes:
        mails = {m.message_id: m for m in box.mails}
        for fact, s in zip(box.facts, box.scenarios, strict=True):
            assert fact.entity in s.question
            assert fact.entity in mails[s.message_ids[0]].body


def test_no_other_mail_of_an_inbox_tells_the_same_fact_otherwise(inboxes):
    """Facts of a colleague that were copied to the inbox count as well."""
    facts = [
        (fact.key, s.message_ids[0], next(m for m in box.mails if m.message_id == s.message_ids[0]))
        for box in inboxes
        for fact, s in zip(box.facts, box.scenarios, strict=True)
    ]
    for box in inboxes:
        mails_of = defaultdict(set)
        for key, message_id, m in facts:
            if box.address in m.participants():
                mails_of[key].add(message_id)
        assert mails_of
        assert all(len(ids) == 1 for ids in mails_of.values())


def test_a_superseded_estimate_says_so(inboxes):
    early = [m for box in inboxes for m in box.mails if m.subject.startswith("early ")]
    assert early
    assert all(re.search("no longer holds|is off", m.body) for m in early)
