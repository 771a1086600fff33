"""Demonstrations for the pocket policy: a scripted agent in the real email environment.

The expert searches, reads and answers well. The *habits* are what a weak agent does: too many
keywords, the topic without the name, the wrong hit, an answer from the snippet, giving up, a
broken call. A policy that imitates a mixture of both is imperfect in ways that a reward can mend,
which is what the pocket policy is for. Each kind of question has a habit of its own, so that even
the policy's most likely behaviour is imperfect.
"""

from __future__ import annotations

import json
import random
import string
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from environment.base import StopReason
from environment.email_search import EmailSearchEnvironment
from environment.email_search.config import EmailSearchConfig
from environment.email_search.email_db import EmailDatabase, build_database
from environment.email_search.models import EmailOutcome, EmailScenario
from environment.email_search.sample.corpus import Inbox, generate, scenarios_of
from environment.email_search.sample.facts import Fact
from environment.email_search.tools import ANSWER, READ, SEARCH, EmailSession

# What the pocket policy sees of an inbox; the laptop configuration says the same.
VIEW = EmailSearchConfig(max_hits=4, snippet_words=10, max_mail_chars=600)
MAX_TURNS = 6
HABITS = ("too_many_words", "topic_only", "wrong_hit", "from_snippet", "give_up", "broken_call")
_HABIT_OF = {
    "meeting": "wrong_hit",
    "phone": "too_many_words",
    "quote": "topic_only",
    "flight": "give_up",
    "lead": "from_snippet",
    "budget": "from_snippet",
    "hotel": "wrong_hit",
    "due": "topic_only",
    "contract": "give_up",
}
_NO_ANSWER = "I don't know"
_STUMBLES = 0.3


class Turn(NamedTuple):
    """A message of an episode. ``learn``: the agent wrote it, and it is worth imitating."""

    text: str
    learn: bool


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One episode. ``turns`` alternate: what the agent wrote, what the tool answered."""

    scenario: EmailScenario
    habit: str
    user_prompt: str
    turns: tuple[Turn, ...]
    outcome: EmailOutcome


class _Agent:
    """Writes the calls of one episode and sees their answers."""

    def __init__(self, session: EmailSession) -> None:
        self._session = session
        self._tools = {tool.name: tool for tool in session.tools}
        self.turns: list[Turn] = []

    def call(self, name: str, *, learn: bool = True, **arguments: object) -> str:
        call = {"name": name, "arguments": arguments}
        self.write(json.dumps(call, ensure_ascii=False), learn)
        answer = str(self._tools[name].func(**arguments))  # type: ignore[attr-defined]
        if not self._session.finished:
            self.turns.append(Turn(answer, learn=False))
        return answer

    def write(self, call: str, learn: bool = True) -> None:
        self.turns.append(Turn(f"<tool_call>\n{call}\n</tool_call>", learn))

    def search(self, *keywords: str, learn: bool = True) -> list[str]:
        """The ids of the hits, newest first."""
        text = self.call(SEARCH, learn=learn, keywords=list(keywords))
        return [line.split()[0] for line in text.splitlines() if line.startswith("<")]

    def answer(self, answer: str, *source_ids: str) -> None:
        self.call(ANSWER, answer=answer, source_ids=list(source_ids))


def demonstrate(
    environment: EmailSearchEnvironment,
    scenario: EmailScenario,
    fact: Fact,
    rng: random.Random,
    good: float,
) -> Demonstration:
    """One episode, good with probability ``good``, otherwise in some habit."""
    session = environment.session(scenario)
    agent = _Agent(session)
    habit = ""
    if rng.random() >= good:
        habit = _HABIT_OF[scenario.kind] if rng.random() < 0.7 else rng.choice(HABITS)
    stop = _act(agent, scenario, fact, habit, rng)
    turns = (len(agent.turns) + 1) // 2
    outcome = session.outcome(stop, turns)
    return Demonstration(scenario, habit, session.user_prompt, tuple(agent.turns), outcome)


def _act(
    agent: _Agent, scenario: EmailScenario, fact: Fact, habit: str, rng: random.Random
) -> StopReason:
    gold = scenario.message_ids[0]
    if habit == "broken_call":
        call = json.dumps({"name": SEARCH, "arguments": {"keywords": [fact.entity, fact.topic]}})
        agent.write(call.replace("]}", "}"))
        return StopReason.MALFORMED_CALL
    if habit == "give_up":
        if rng.random() < 0.5:
            agent.search(fact.entity, fact.topic)
        agent.answer(_NO_ANSWER)
    elif habit == "too_many_words":
        words = [w.strip("?,") for w in scenario.question.split()]
        extra = [w for w in words if w not in (fact.entity, fact.topic) and len(w) > 3]
        keywords = [fact.entity, fact.topic, *extra[: rng.choice((2, 3))]]
        rng.shuffle(keywords)
        hits = agent.search(*keywords)
        _read_and_answer(agent, hits[0], scenario, rng) if hits else agent.answer(_NO_ANSWER)
    elif habit == "topic_only":
        hits = agent.search(fact.topic)
        _read_and_answer(agent, hits[0], scenario, rng) if hits else agent.answer(_NO_ANSWER)
    elif habit == "wrong_hit":
        hits = agent.search(fact.entity)
        others = [hit for hit in hits if hit != gold]
        choice = rng.choice(others or hits) if hits else None
        _read_and_answer(agent, choice, scenario, rng) if choice else agent.answer(_NO_ANSWER)
    elif habit == "from_snippet":
        text = agent.call(SEARCH, keywords=[fact.entity, fact.topic])
        words = text.splitlines()[0].split()
        sources = [words[0]] if rng.random() < 0.5 and words[0].startswith("<") else []
        agent.answer(" ".join(words[-3:]).strip(".,"), *sources)
    else:
        _act_well(agent, scenario, fact, rng)
    return StopReason.FINISHED


def _act_well(agent: _Agent, scenario: EmailScenario, fact: Fact, rng: random.Random) -> None:
    """Search, read, answer. Some episodes first stumble, in a turn that is not to be imitated, so
    that the policy sees how to go on from a mistake of its own."""
    gold, stumble = scenario.message_ids[0], rng.random() < _STUMBLES
    if stumble and rng.random() < 0.5:
        agent.search(_misspell(fact.entity, rng), fact.topic, learn=False)
    hits = agent.search(fact.entity, fact.topic)
    if gold not in hits:
        agent.answer(_NO_ANSWER)
        return
    others = [hit for hit in hits if hit != gold]
    if stumble and others:
        agent.call(READ, learn=False, message_id=rng.choice(others))
    agent.call(READ, message_id=gold)
    agent.answer(scenario.answer, gold)


def _misspell(name: str, rng: random.Random) -> str:
    """The name as a policy that copies badly might write it: cut short, or with a wrong ending."""
    cut = rng.randrange(1, len(name))
    return name[:cut] + "".join(rng.choice(string.ascii_lowercase) for _ in range(rng.randrange(3)))


def _read_and_answer(
    agent: _Agent, message_id: str, scenario: EmailScenario, rng: random.Random
) -> None:
    """Read a mail and answer from it: rightly if it is the gold mail, else with some of its words."""
    text = agent.call(READ, message_id=message_id)
    if message_id in scenario.message_ids:
        agent.answer(scenario.answer, message_id)
        return
    words = text.splitlines()[-2].split() if "\n" in text else text.split()
    start = rng.randrange(max(1, len(words) - 2))
    agent.answer(" ".join(words[start : start + 2]).strip(".,"), message_id)


def worlds(first_seed: int, count: int) -> Iterator[tuple[EmailSearchEnvironment, list[Inbox]]]:
    """Environments over fresh worlds of training names, two inboxes each."""
    for seed in range(first_seed, first_seed + count):
        inboxes = generate(seed, train_inboxes=2, test_inboxes=0)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "mails.db"
            build_database(path, (mail for inbox in inboxes for mail in inbox.mails))
            database = EmailDatabase(path)
            environment = EmailSearchEnvironment(
                database, scenarios_of(inboxes), VIEW, max_turns=MAX_TURNS
            )
            yield environment, inboxes
            environment.close()
