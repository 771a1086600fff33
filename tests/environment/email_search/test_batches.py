"""The batches of mails that questions are written from."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from environment.email_search.batches import plan_batches
from environment.email_search.models import Email
from environment.email_search.sample.names import split_of

from .builders import ANN, BOB, EVE, mail

PEOPLE = [f"{name}@x.com" for name in "ann bob eve zoe kim lee max ida".split()]
one_mail = st.fixed_dictionaries(
    {
        "sender": st.sampled_from(PEOPLE),
        "to": st.lists(st.sampled_from(PEOPLE), max_size=3),
        "date": st.just("2001-05-14 09:00:00") | st.just(""),
        "body": st.text(max_size=400) | st.just("hello"),
    }
)
mailboxes = st.lists(one_mail, max_size=60).map(
    lambda mails: [mail(n, **fields) for n, fields in enumerate(mails)]
)


def chars(one: Email) -> int:
    return sum(map(len, (one.subject, one.sender, *one.to, *one.cc, one.body)))


@given(mailboxes, st.integers(1, 9), st.integers(100, 900))
def test_every_mail_is_in_one_batch_of_one_of_its_inboxes_or_counted(
    mails: list[Email], max_mails: int, max_chars: int
) -> None:
    inboxes = PEOPLE[:5]
    planned, left_out = plan_batches(mails, inboxes, max_mails, max_chars)
    by_id = {m.message_id: m for m in mails}
    shown = Counter(id_ for batches in planned.values() for batch in batches for id_ in batch)
    held = [m for m in mails if m.participants() & set(inboxes)]
    assert set(shown.values()) <= {1}
    assert len(shown) + left_out.total() == len(held)
    for inbox, batches in planned.items():
        for batch in batches:
            assert 1 <= len(batch) <= max_mails
            assert sum(chars(by_id[id_]) for id_ in batch) <= max_chars
            assert all(inbox in by_id[id_].participants() for id_ in batch)
            assert list(batch) == sorted(batch, key=list(by_id).index), "oldest first"


@given(mailboxes)
def test_no_mail_is_shown_for_inboxes_of_both_splits(mails: list[Email]) -> None:
    planned, _ = plan_batches(mails, PEOPLE, 5, 10_000)
    of: dict[str, set[str]] = {"train": set(), "test": set()}
    for inbox, batches in planned.items():
        of[split_of(inbox)].update(id_ for batch in batches for id_ in batch)
    assert not of["train"] & of["test"]


def test_shared_mails_are_shared_out_evenly() -> None:
    mails = [mail(n, sender=EVE, to=[ANN, BOB]) for n in range(40)]
    planned, _ = plan_batches(mails, [ANN, BOB], 100, 100_000)
    assert [len(planned[inbox][0]) for inbox in (ANN, BOB)] == [20, 20]


def test_the_order_of_batches_is_mixed_and_always_the_same() -> None:
    mails = [mail(n) for n in range(100)]
    planned, _ = plan_batches(mails, [ANN], 5, 100_000)
    random.seed(1)
    again, _ = plan_batches(mails, [ANN], 5, 100_000)
    assert planned == again
    assert planned[ANN] != sorted(planned[ANN])


def test_an_inbox_without_mails_has_no_batch() -> None:
    assert plan_batches([mail(1)], [EVE], 5, 1000) == ({EVE: []}, Counter())
