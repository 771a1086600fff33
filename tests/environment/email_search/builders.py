"""Mails and scenarios for tests: each names only what the test is about."""

from __future__ import annotations

from environment.email_search.models import Email, EmailScenario

ANN, BOB, EVE = "ann@x.com", "bob@x.com", "eve@x.com"
_HEADERS = (
    b"Message-ID: <1@x>",
    b"From: bob@x.com",
    b"To: ann@x.com",
    b"Subject: review",
    b"Date: Mon, 14 May 2001 09:00:00 +0000",
)


def mail(number: int, **fields) -> Email:
    """Mail ``<number@x>`` from Bob to Ann, unlike every other number's."""
    defaults = {
        "date": "2001-05-14 09:00:00",
        "subject": f"subject {number}",
        "sender": BOB,
        "to": [ANN],
        "body": f"hello body {number}",
    }
    return Email(message_id=f"<{number}@x>", **defaults | fields)


def scenario(number: int = 1, **fields) -> EmailScenario:
    """A scenario in Ann's inbox whose gold mail is ``<number@x>``."""
    defaults = {
        "split": "train",
        "question": "When is the review?",
        "answer": "Monday",
        "message_ids": (f"<{number}@x>",),
        "inbox_address": ANN,
        "query_date": "2001-12-31",
    }
    return EmailScenario(id=str(number), **defaults | fields)


def raw_mail(*headers: str | bytes, body: str | bytes = "hello") -> bytes:
    """The bytes of a mail with a sender, a subject, an id and a date unless ``headers`` name them."""
    lines = [line.encode() if isinstance(line, str) else line for line in headers]
    named = {line.split(b":")[0].lower() for line in lines}
    lines += [line for line in _HEADERS if line.split(b":")[0].lower() not in named]
    return b"\n".join(lines) + b"\n\n" + (body.encode() if isinstance(body, str) else body)
