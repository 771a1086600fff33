"""The facts in generated emails: nine kinds, each with its wordings.

A fact is about one *entity* (a project, a company, a person) and one *topic*, which both its email
and its questions name, and has a value that the questions ask for.

Template fields: ``e`` entity, ``t`` topic, ``v`` value and, depending on the kind, ``w`` a second
value, ``day``, ``city`` and ``p``, a person's full name.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

MONTHS = (
    "January February March April May June July August September October November December"
).split()
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXZ"


class World(NamedTuple):
    """The names shared by a pair of inboxes."""

    people: list[str]
    projects: list[str]
    companies: list[str]
    cities: list[str]
    hotels: list[str]


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact in words. ``questions`` are pairs of question and gold answer."""

    kind: str
    entity: str
    topic: str
    subject: str
    sentence: str
    questions: tuple[tuple[str, str], ...]

    @property
    def key(self) -> tuple[str, str]:
        """Identifies the fact within an inbox."""
        return self.entity, self.topic


class _Kind(NamedTuple):
    topics: str
    subjects: tuple[str, ...]
    sentences: tuple[str, ...]
    questions: tuple[tuple[str, str], ...]


_KINDS: dict[str, _Kind] = {
    "meeting": _Kind(
        "kickoff review workshop offsite demo",
        ("{e} {t}", "{t} for {e}", "{e}: {t}"),
        (
            "The {e} {t} is set for {day} at {v} in {w}.",
            "We moved the {e} {t} to {day}, {v}, {w}.",
            "The {t} for {e} will be in {w} on {day} at {v}.",
            "Please join the {e} {t} at {v} on {day} in {w}.",
        ),
        (
            ("What time is the {e} {t}?", "v"),
            ("When does the {e} {t} start?", "v"),
            ("Where is the {e} {t} held?", "w"),
            ("Which room is the {e} {t} in?", "w"),
        ),
    ),
    "phone": _Kind(
        "mobile fax pager",
        ("{t} for {p}", "new {t} number", "{e} contact"),
        (
            "The new {t} number for {p} is {v}.",
            "You can reach {p} by {t} at {v}.",
            "{p} has a new {t}: {v}.",
            "For {p}, use the {t} number {v}.",
        ),
        (
            ("What is the {t} number of {p}?", "v"),
            ("What is the new {t} number for {p}?", "v"),
            ("At which {t} number can I reach {p}?", "v"),
        ),
    ),
    "quote": _Kind(
        "turbines pipeline compressors software storage drilling consulting insurance metering",
        ("{e} quote", "{t} pricing from {e}", "{e} and the {t}"),
        (
            "{e} quoted {v} for the {t} work.",
            "For the {t} we got {v} from {e}.",
            "The price from {e} for {t} is {v}.",
            "{e} asks {v} for the {t}.",
        ),
        (
            ("How much did {e} quote for the {t}?", "v"),
            ("What is the {e} price for {t}?", "v"),
            ("What does {e} ask for the {t}?", "v"),
        ),
    ),
    "flight": _Kind(
        "flight",
        ("{e} travel", "flight to {city}", "trip of {p}"),
        (
            "{p} is on flight {v} to {city}, leaving {day}.",
            "The flight to {city} for {p} is {v} on {day}.",
            "I booked flight {v} for {p}, to {city} on {day}.",
            "{p} takes flight {v} on {day} to {city}.",
        ),
        (
            ("What flight is {p} taking to {city}?", "v"),
            ("Which flight to {city} is {p} on?", "v"),
            ("What is the flight number of {p}?", "v"),
        ),
    ),
    "lead": _Kind(
        "staffing testing logistics legal",
        ("{e} {t}", "{t} lead", "{e}: who does {t}"),
        (
            "{p} will lead {t} for {e}.",
            "For {e}, {p} is now in charge of {t}.",
            "We picked {p} to run {t} on {e}.",
            "From Monday {p} takes over {t} for {e}.",
        ),
        (
            ("Who leads {t} for {e}?", "p"),
            ("Who is in charge of {t} on {e}?", "p"),
            ("Who runs {t} for {e}?", "p"),
        ),
    ),
    "budget": _Kind(
        "budget",
        ("{e} budget", "budget numbers", "budget for {e}"),
        (
            "The approved budget for {e} is {v}.",
            "Finance set the {e} budget at {v}.",
            "We have {v} in the {e} budget.",
            "The {e} budget came out at {v}.",
        ),
        (
            ("What is the budget for {e}?", "v"),
            ("How large is the {e} budget?", "v"),
            ("What budget does {e} have?", "v"),
        ),
    ),
    "hotel": _Kind(
        "hotel",
        ("{e} travel", "hotel in {city}", "stay of {p}"),
        (
            "{p} has a hotel room at the {w} in {city}, confirmation {v}.",
            "The hotel for {p} in {city} is the {w}. The confirmation is {v}.",
            "I booked the hotel {w} in {city} for {p}, confirmation {v}.",
            "{p} stays at the {w} hotel in {city} with confirmation {v}.",
        ),
        (
            ("Which hotel is {p} staying at in {city}?", "w"),
            ("In which hotel does {p} stay?", "w"),
            ("What is the hotel confirmation of {p}?", "v"),
        ),
    ),
    "due": _Kind(
        "memo forecast audit summary proposal invoice",
        ("{e} {t}", "{t} deadline", "{t} for {e}"),
        (
            "The {e} {t} is due on {v}.",
            "Please send the {t} for {e} by {v}.",
            "We need the {e} {t} no later than {v}.",
            "{v} is the last day for the {e} {t}.",
        ),
        (
            ("When is the {e} {t} due?", "v"),
            ("What is the deadline of the {e} {t}?", "v"),
            ("By when do we need the {e} {t}?", "v"),
        ),
    ),
    "contract": _Kind(
        "contract",
        ("{e} contract", "contract terms", "{e} agreement"),
        (
            "The contract with {e} expires on {v}.",
            "Our {e} contract runs until {v}.",
            "We signed {e}. The contract ends {v}.",
            "The {e} contract is good through {v}.",
        ),
        (
            ("When does the {e} contract expire?", "v"),
            ("When does the contract with {e} end?", "v"),
            ("Until when does the {e} contract run?", "v"),
        ),
    ),
}
KINDS: tuple[str, ...] = tuple(_KINDS)


def amount(rng: random.Random) -> str:
    shape = rng.random()
    if shape < 0.4:
        return f"${rng.randint(10, 999)},{rng.randint(0, 9)}00"
    if shape < 0.7:
        return f"${rng.randint(1, 99)}.{rng.randint(1, 9)} million"
    return f"${rng.randint(1, 9)},{rng.randint(100, 999)},000"


def day(rng: random.Random) -> str:
    return f"{rng.choice(MONTHS)} {rng.randint(1, 28)}"


def _clock(rng: random.Random) -> str:
    hour = rng.randint(7, 18)
    half = "am" if hour < 12 else "pm"
    return f"{(hour - 1) % 12 + 1}:{rng.choice(('00', '15', '30', '45'))} {half}"


def _room(rng: random.Random) -> str:
    return f"{rng.choice(('room', 'room', 'suite'))} {rng.randint(10, 49)}{rng.choice('ABCDEFGH')}"


def _phone(rng: random.Random) -> str:
    return f"{rng.randint(201, 989)}-{rng.randint(201, 989)}-{rng.randint(1000, 9999)}"


def _code(rng: random.Random, letters: int) -> str:
    head = "".join(rng.choice(_LETTERS) for _ in range(letters))
    return f"{head}{rng.randint(1000, 9999)}"


def make_fact(kind: str, world: World, rng: random.Random) -> Fact:
    """Draw a fact of this kind about ``world``; the caller removes duplicates."""
    spec = _KINDS[kind]
    person = rng.choice(world.people)
    surname = person.split()[-1]
    project, company = rng.choice(world.projects), rng.choice(world.companies)
    fields = {"p": person, "city": rng.choice(world.cities), "day": day(rng)}
    draw: dict[str, Callable[[], tuple[str, str, str]]] = {
        "meeting": lambda: (project, _clock(rng), _room(rng)),
        "phone": lambda: (surname, _phone(rng), ""),
        "quote": lambda: (company, amount(rng), ""),
        "flight": lambda: (surname, _code(rng, 2), ""),
        "lead": lambda: (project, "", ""),
        "budget": lambda: (project, amount(rng), ""),
        "hotel": lambda: (surname, _code(rng, 3), rng.choice(world.hotels)),
        "due": lambda: (project, day(rng), ""),
        "contract": lambda: (company, f"{day(rng)}, {rng.randint(2002, 2009)}", ""),
    }
    entity, value, second = draw[kind]()
    topic = rng.choice(spec.topics.split())
    fields |= {"e": entity, "t": topic, "v": value, "w": second}
    by_answer: dict[str, list[str]] = {}
    for question, answer in spec.questions:
        by_answer.setdefault(answer, []).append(question)
    return Fact(
        kind,
        entity,
        topic,
        rng.choice(spec.subjects).format(**fields),
        rng.choice(spec.sentences).format(**fields),
        tuple(
            (rng.choice(wordings).format(**fields), fields[answer])
            for answer, wordings in by_answer.items()
        ),
    )
