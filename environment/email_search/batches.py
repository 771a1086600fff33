"""Splits an inbox into batches of emails that fit a prompt.

Emails close in time stay together, as they tend to share a topic; the batch order depends on the
inbox alone. An email in several inboxes is assigned to the one with the fewest so far, so no
question is paid for twice and no gold email ends up in both splits.
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
    """Message ids per batch by inbox, and the number of excluded emails by reason: no date, no
    text, or longer than ``max_chars``.

    Args:
        mails: oldest first.
        max_chars: limit per batch, over subjects, addresses and bodies.
    """
    sizes: dict[str, list[tuple[str, int]]] = defaultdict(list)
    left_out: Counter[str] = Counter()
    selected = set(inboxes)
    for mail in mails:
        holders = mail.participants() & selected
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
