"""The sample corpus: generated inboxes with questions, each answered by a single email.

Inboxes come in pairs of colleagues who discuss the same projects, companies and people, so only
the inbox tells which emails may answer. Distractors surround each fact: the request for it, a
thank-you that quotes only its subject, a superseded estimate, and gossip about the same entities.
The seed determines everything.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from environment.base import Split
from environment.email_search.models import Email, EmailScenario
from environment.email_search.sample.facts import KINDS, Fact, World, amount, day, make_fact
from environment.email_search.sample.names import NamePool

DOMAIN = "harbor.example"
QUERY_DATE = "2001-12-31"
_START = datetime(2000, 1, 3, 8)
_DAYS = 690
_GIVE_UP_AFTER = 500

_GREETINGS = ("Hi,", "All,", "Team,", "Hello,", "FYI.", "Hi all,", "")
_FILLERS = (
    "Let me know if you have questions.",
    "Please pass this along.",
    "Thanks for your patience on this.",
    "Sorry for the late note.",
    "I will follow up next week.",
    "Please keep this confidential.",
    "Call me if this does not work.",
    "We can talk about it after lunch.",
    "This is the final word from our side.",
    "Nothing else has changed.",
)
_GOSSIP = (
    "I met {p} about {e} today.",
    "{c} called again about {e}.",
    "Can someone from {e} talk to {c}?",
    "{p} will be out next week.",
    "Did {p} hear from {c}?",
    "{c} liked what {p} said about {e}.",
)
_GOSSIP_SUBJECTS = ("fyi", "update", "quick note", "{e} news", "about {c}")
_REQUESTS = (
    "Does anyone have the {t} details for {e}?",
    "I am still waiting for the {e} {t} information.",
    "Can you send me the {t} facts on {e}?",
)
_THANKS = ("Thanks, got it.", "Great, that helps.", "Noted, thank you.", "Perfect.")
_ESTIMATES = {
    "quote": "An early guess for {t} from {e} was {v}, but it no longer holds.",
    "budget": "An early guess for the {e} budget was {v}, but it no longer holds.",
    "due": "We first planned the {e} {t} for {v}, but that is off.",
    "contract": "We first thought the {e} contract ended {v}, but that is off.",
}


@dataclass(slots=True)
class Inbox:
    """One generated inbox; ``facts[i]`` is what ``scenarios[i]`` asks about."""

    address: str
    split: Split
    mails: list[Email] = field(default_factory=list)
    scenarios: list[EmailScenario] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    fact_keys: set[tuple[str, str]] = field(default_factory=set)


def address_of(person: str) -> str:
    first, last = (re.sub("[^a-z]", "", part.lower()) for part in person.split())
    return f"{first}.{last}@{DOMAIN}"


def generate(
    seed: int, *, train_inboxes: int = 12, test_inboxes: int = 4, mails_per_inbox: int = 250
) -> list[Inbox]:
    """Inboxes of both splits. No name in a test inbox occurs in a training inbox."""
    inboxes: list[Inbox] = []
    ids = _message_ids(random.Random(f"ids {seed}"))
    splits: tuple[tuple[Split, int], ...] = (("train", train_inboxes), ("test", test_inboxes))
    for split, count in splits:
        for pair in range(0, count, 2):
            rng = random.Random(f"{seed} {split} {pair}")
            owners = min(2, count - pair)
            inboxes += _Writer(rng, split, owners, ids).write(mails_per_inbox)
    return inboxes


def _message_ids(rng: random.Random) -> Iterator[str]:
    """Unique, realistic ids in random order, so that an agent must copy rather than count."""
    used: set[int] = set()
    while True:
        number = rng.randint(100_000, 999_999)
        if number not in used:
            used.add(number)
            yield f"<{number}@{DOMAIN}>"


class _Writer:
    """Writes the mails and scenarios of one pair of colleagues."""

    def __init__(self, rng: random.Random, split: Split, owners: int, ids: Iterator[str]) -> None:
        self._rng, self._ids = rng, ids
        pool = NamePool(rng, split)
        self._world = World(
            people=[pool.person() for _ in range(16)],
            projects=[pool.name() for _ in range(10)],
            companies=[pool.name() for _ in range(8)],
            cities=[pool.name() for _ in range(6)],
            hotels=[pool.name() for _ in range(4)],
        )
        self._inboxes = [Inbox(address_of(pool.person()), split) for _ in range(owners)]

    def write(self, mails_per_inbox: int) -> list[Inbox]:
        for inbox in self._inboxes:
            repeats = 0
            # A world has about 300 facts; gossip fills up larger inboxes.
            while len(inbox.mails) < mails_per_inbox * 0.8 and repeats < _GIVE_UP_AFTER:
                fact = make_fact(self._rng.choice(KINDS), self._world, self._rng)
                repeats += 1
                if fact.key not in inbox.fact_keys:
                    repeats = 0
                    inbox.fact_keys.add(fact.key)
                    self._tell(inbox, fact)
            while len(inbox.mails) < mails_per_inbox:
                self._gossip(inbox)
            inbox.mails.sort(key=lambda mail: mail.date)
        return self._inboxes

    def _tell(self, inbox: Inbox, fact: Fact) -> None:
        """Add the gold email, its distractors and its scenarios."""
        rng = self._rng
        sent = _START + timedelta(days=rng.randint(20, _DAYS - 20), minutes=rng.randint(0, 600))
        teller, colleague = rng.sample(self._world.people, 2)
        if rng.random() < 0.25:
            text = rng.choice(_REQUESTS).format(e=fact.entity, t=fact.topic)
            before = sent - timedelta(days=rng.randint(1, 9))
            self._mail(inbox, colleague, fact.subject, text, before)
        if fact.kind in _ESTIMATES and rng.random() < 0.25:
            value = self._other_value(fact)
            text = _ESTIMATES[fact.kind].format(e=fact.entity, t=fact.topic, v=value)
            away = timedelta(days=rng.randint(1, 15) * rng.choice((-1, 1)))
            self._mail(inbox, teller, f"early {fact.subject}", text, sent + away)
        # Some facts also go to the colleague, whose inbox then gets no other fact with this key.
        others = [
            box for box in self._inboxes if fact.key not in box.fact_keys and rng.random() < 0.1
        ]
        for other in others:
            other.fact_keys.add(fact.key)
        gold = self._mail(inbox, teller, fact.subject, fact.sentence, sent, others)
        if rng.random() < 0.25:
            text = rng.choice(_THANKS)
            after = sent + timedelta(days=rng.randint(1, 9))
            self._mail(inbox, colleague, f"Re: {fact.subject}", text, after)
        for question, answer in fact.questions:
            inbox.facts.append(fact)
            inbox.scenarios.append(
                EmailScenario(
                    id=f"{gold.message_id[1:7]}-{len(inbox.scenarios)}",
                    question=question,
                    answer=answer,
                    message_ids=(gold.message_id,),
                    inbox_address=inbox.address,
                    query_date=QUERY_DATE,
                    split=inbox.split,
                    kind=fact.kind,
                )
            )

    def _other_value(self, fact: Fact) -> str:
        """A wrong value of the fact's kind."""
        draw = day if fact.kind in ("due", "contract") else amount
        while (value := draw(self._rng)) in fact.sentence:
            pass
        return value

    def _gossip(self, inbox: Inbox) -> None:
        rng, world = self._rng, self._world
        names = {
            "p": rng.choice(world.people),
            "e": rng.choice(world.projects),
            "c": rng.choice(world.companies),
        }
        subject, text = rng.choice(_GOSSIP_SUBJECTS), rng.choice(_GOSSIP)
        sent = _START + timedelta(days=rng.randint(0, _DAYS), minutes=rng.randint(0, 600))
        sender = rng.choice(world.people)
        self._mail(inbox, sender, subject.format(**names), text.format(**names), sent)

    def _mail(
        self,
        inbox: Inbox,
        sender: str,
        subject: str,
        text: str,
        sent: datetime,
        others: Sequence[Inbox] = (),
    ) -> Email:
        rng = self._rng
        before = rng.sample(_FILLERS, rng.choice((0, 0, 1)))
        after = rng.sample(_FILLERS, rng.choice((0, 1, 1)))
        body = " ".join(part for part in (rng.choice(_GREETINGS), *before, text, *after) if part)
        colleagues = [person for person in self._world.people if person != sender]
        copies = rng.sample(colleagues, rng.choice((0, 0, 0, 1, 2)))
        mail = Email(
            message_id=next(self._ids),
            date=f"{sent:%Y-%m-%d %H:%M:%S}",
            subject=subject,
            sender=address_of(sender),
            to=[inbox.address],
            cc=[*map(address_of, copies), *(other.address for other in others)],
            body=f"{body}\n{sender.split(maxsplit=1)[0]}",
        )
        inbox.mails.append(mail)
        return mail


def scenarios_of(inboxes: Sequence[Inbox]) -> list[EmailScenario]:
    return [scenario for inbox in inboxes for scenario in inbox.scenarios]
