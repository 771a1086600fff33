"""Mails of an inbox in batches that fit a prompt: neighbours in time, which speak of the same
matters, stay together; the batches come in an order that only the inbox decides.

A mail of several inboxes is shown for one of them, the one with the fewest mails so far: nobody
pays for a question twice, and no gold mail is one of both splits.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable

from environment.email_search.models import Email

Batch = tuple[str, ...]


def plan_batches(
    mails: Iterable[Email], inboxes: Collection[str], max_mails: int, max_chars: int
) -> tuple[dict[str, list[Batch]], Counter[str]]:
    """The message ids of each batch by inbox, and how many mails are in none, by reason: those
    without a date, without a text, or with more than ``max_chars`` characters.

    Args:
        mails: oldest first.
        max_chars: of the subjects, addresses and texts of one batch.
    """
    sizes: dict[str, list[tuple[str, int]]] = defaultdict(list)
    left_out: Counter[str] = Counter()
    wanted = set(inboxes)
    for mail in mails:
        holders = mail.participants() & wanted
        if not holders:
            continue
        chars = _chars(mail)
        if not mail.date:
            left_out["no_date"] += 1
        elif not mail.body.strip():
            left_out["no_text"] += 1
        elif chars > max_chars:
            left_out["too_long"] += 1
        else:
            fewest = min(holders, key=lambda inbox: (len(sizes[inbox]), inbox))
            sizes[fewest].append((mail.message_id, chars))
    planned = {}
    for inbox in inboxes:
        planned[inbox] = _cut(sizes[inbox], max_mails, max_chars)
        random.Random(inbox).shuffle(planned[inbox])
    return planned, left_out


def _cut(mails: Iterable[tuple[str, int]], max_mails: int, max_chars: int) -> list[Batch]:
    batches: list[Batch] = []
    current: list[str] = []
    filled = 0
    for message_id, chars in mails:
        if current and (len(current) == max_mails or filled + chars > max_chars):
            batches.append(tuple(current))
            current, filled = [], 0
        current.append(message_id)
        filled += chars
    return [*batches, tuple(current)] if current else batches


def _chars(mail: Email) -> int:
    return sum(map(len, (mail.subject, mail.sender, *mail.to, *mail.cc, mail.body)))
