"""Generated names hold no offensive word."""

from __future__ import annotations

import codecs
import random

import pytest

from environment.email_search.sample.corpus import address_of, generate
from environment.email_search.sample.decency import is_decent
from environment.email_search.sample.names import NamePool, split_of


def plain(rot13: str) -> str:
    return codecs.decode(rot13, "rot13")


@pytest.mark.parametrize("name", ["cebshpx", "Fuvgre", "zp'phag", "qvpx fba", "n.ff", "ANMVNA"])
def test_what_offends_is_known_in_any_form(name: str) -> None:
    assert not is_decent(plain(name))
    assert not is_decent(*plain(name).split(" "))


def test_what_stands_across_two_parts_is_known() -> None:
    assert is_decent(plain("Nan"))
    assert is_decent(plain("Yvfn"))
    assert not is_decent(plain("Nan"), plain("Yvfn"))


@pytest.mark.parametrize("split", ["train", "test"])
def test_no_generated_name_or_address_offends(split: str) -> None:
    for seed in range(30):
        pool = NamePool(random.Random(seed), split)  # type: ignore[arg-type]
        for _ in range(500):
            person, name = pool.person(), pool.name()
            assert is_decent(person)
            assert is_decent(address_of(person).partition("@")[0])
            assert is_decent(name)
            assert split_of(name) == split_of(person.split()[1]) == split


def test_the_mails_of_several_worlds_have_decent_addresses() -> None:
    for seed in range(3):
        for inbox in generate(seed, train_inboxes=2, test_inboxes=2, mails_per_inbox=60):
            for mail in inbox.mails:
                assert all(is_decent(a.partition("@")[0]) for a in mail.participants())
