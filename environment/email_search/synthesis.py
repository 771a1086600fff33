"""Template questions from any mailbox, without a language model or an API key.

An email yields a question if its own text, without quotes and forwards, contains exactly one value
of a kind (one phone number, one amount, ...), so that the answer is unambiguous, and if no other
email in the inbox has the same sender and subject, so that the question identifies the email.
Such questions test search, reading and copying, not understanding.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from environment.email_search.models import Email, EmailScenario
from environment.email_search.sample.facts import MONTHS
from environment.email_search.sample.names import split_of

_QUOTED = re.compile(
    r"^\s*-{3,}.*(?:forwarded|original message|inline attachment).*|^\s*_{10,}|"
    r"^\s*from:.*|^\s*on .*(?:\n.*)?\bwrote:|^.*\d\d/\d\d/\d{2,4} \d\d:\d\d [AP]M.*$",
    re.IGNORECASE | re.MULTILINE,
)
_MONTH = "(?:" + "|".join(MONTHS) + ")"
_FIND: dict[str, re.Pattern[str]] = {
    "phone": re.compile(r"(?<![\d-])(?:\(\d{3}\) ?|\d{3}[-. ])\d{3}[-.]\d{4}(?![\d-])"),
    "amount": re.compile(
        r"\$\s?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
        r"(?:\s?(?:[Mm]illion|[Bb]illion|[Tt]housand|MM|bn|[MmKkBb])\b)?"
    ),
    "date": re.compile(rf"\b{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?(?:, \d{{4}})?\b"),
    "place": re.compile(
        r"\b(?:[Ii]n|[Aa]t) ((?:[Cc]onference )?(?:[Rr]oom|[Ss]uite) [A-Z]{0,2}\d[\dA-Za-z]*|EB ?\d[\dA-Z]+)"
    ),
    "person": re.compile(
        r"\b(?:[Cc]ontact|[Cc]all|[Ee]-?mail|speak (?:to|with)|talk to)\s([A-Z][a-z]+ [A-Z][a-z]+)\b"
    ),
}
_ASK: dict[str, tuple[str, ...]] = {
    "phone": (
        'Which phone number does {who} give in the mail "{subject}"?',
        'What is the phone number in the mail from {who} about "{subject}"?',
    ),
    "amount": (
        'Which amount does {who} name in the mail "{subject}"?',
        'How much money is named in the mail from {who} about "{subject}"?',
    ),
    "date": (
        'Which date does {who} name in the mail "{subject}"?',
        'What is the date in the text of the mail from {who} about "{subject}"?',
    ),
    "place": (
        'Which place does {who} name in the mail "{subject}"?',
        'Where is it, in the mail from {who} about "{subject}"?',
    ),
    "person": (
        'Whom does {who} name as the contact in the mail "{subject}"?',
        'Who is to be contacted in the mail from {who} about "{subject}"?',
    ),
}
_REPLY = re.compile(r"^\s*((re|fw|fwd)\s*:\s*)+", re.IGNORECASE)
_MIN_SUBJECT_WORDS = 2
_MAX_SUBJECT_CHARS = 60
MIN_MAILS = 20


@dataclass(frozen=True, slots=True)
class Candidate:
    """An email with a value to ask for."""

    inbox: str
    mail: Email
    kind: str
    value: str


def own_text(body: str) -> str:
    """The text up to the first forward or reply header, without quoted lines."""
    match = _QUOTED.search(body)
    own = body[: match.start()] if match else body
    return "\n".join(line for line in own.splitlines() if not line.lstrip().startswith(">"))


def values_in(body: str) -> Iterator[tuple[str, str]]:
    """Pairs of kind and value, for the kinds with exactly one value in the text."""
    text = own_text(body)
    for kind, pattern in _FIND.items():
        values = {
            " ".join((m[1] if pattern.groups else m[0]).split()) for m in pattern.finditer(text)
        }
        if len(values) == 1:
            yield kind, values.pop()


def _candidates(mails: Iterable[Email], inboxes: frozenset[str]) -> Iterator[Candidate]:
    """Candidates whose sender and subject are unique in the inbox."""
    by_key: dict[tuple[str, str, str], list[Candidate]] = defaultdict(list)
    counts: Counter[tuple[str, str, str]] = Counter()
    for mail in mails:
        subject = _REPLY.sub("", mail.subject).strip()
        for inbox in sorted(mail.participants() & inboxes):
            key = (inbox, mail.sender.lower(), subject.casefold())
            counts[key] += 1
            if counts[key] > 1 or not mail.date or mail.sender.lower() == inbox:
                continue
            if len(subject.split()) < _MIN_SUBJECT_WORDS or len(subject) > _MAX_SUBJECT_CHARS:
                continue
            by_key[key] = [
                Candidate(inbox, mail, kind, value)
                for kind, value in values_in(mail.body)
                if value.casefold() not in subject.casefold()
            ]
    for key, candidates in by_key.items():
        if counts[key] == 1:
            yield from candidates


def largest_inboxes(inbox_sizes: Mapping[str, int], max_inboxes: int, min_mails: int) -> list[str]:
    """The ``max_inboxes`` largest inboxes of each split, training first. Inboxes below
    ``min_mails`` are excluded as too small to need a search."""
    by_size = sorted(inbox_sizes, key=lambda a: (-inbox_sizes[a], a))
    chosen: list[str] = []
    for split in ("train", "test"):
        fitting = [a for a in by_size if inbox_sizes[a] >= min_mails and split_of(a) == split]
        chosen += fitting[:max_inboxes]
    return chosen


def synthesise(
    mails: Callable[[], Iterable[Email]],
    inbox_sizes: dict[str, int],
    *,
    max_inboxes: int = 20,
    per_inbox: int = 100,
    min_mails: int = MIN_MAILS,
) -> list[EmailScenario]:
    """Scenarios from the ``max_inboxes`` largest inboxes of each split.

    Args:
        mails: starts a pass over all emails.
        inbox_sizes: number of emails by address.
        per_inbox: maximum scenarios per inbox, spread over the kinds of questions.
        min_mails: smaller inboxes are excluded.
    """
    chosen = largest_inboxes(inbox_sizes, max_inboxes, min_mails)
    scenarios: list[EmailScenario] = []
    taken: Counter[tuple[str, str]] = Counter()
    for item in _candidates(mails(), frozenset(chosen)):
        of_kind, in_all = (item.inbox, item.kind), (item.inbox, "")
        if taken[of_kind] >= max(1, per_inbox // len(_ASK)) or taken[in_all] >= per_inbox:
            continue
        taken.update((of_kind, in_all))
        wordings = _ASK[item.kind]
        question = wordings[len(scenarios) % len(wordings)].format(
            who=_who(item.mail.sender), subject=_REPLY.sub("", item.mail.subject).strip()
        )
        sent = date.fromisoformat(item.mail.date[:10])
        scenarios.append(
            EmailScenario(
                id=f"{item.kind}-{len(scenarios)}",
                question=question,
                answer=item.value,
                message_ids=(item.mail.message_id,),
                inbox_address=item.inbox,
                query_date=(sent + timedelta(days=30)).isoformat(),
                split=split_of(item.inbox),
                kind=item.kind,
            )
        )
    return scenarios


def _who(address: str) -> str:
    """``sara.shackleton@enron.com`` as Sara Shackleton; odd local parts unchanged."""
    local = address.split("@", maxsplit=1)[0]
    parts = [part for part in re.split(r"[._]+", local) if part]
    return " ".join(p.capitalize() for p in parts) if all(p.isalpha() for p in parts) else local
