"""A scripted model server on loopback, for machines without a key: it plays the writer and the judge.

What it says follows simple rules and no understanding. It writes short news out of word lists, and it
scores a summary by how many of its words the document has, and by how short it is.
"""

from __future__ import annotations

import json
import random
import re
from typing import Any

from tests.fakes.completions import completion
from tests.fakes.loopback import LoopbackServer, Response

ENOUGH_WORDS, MOST_WORDS = 5, 15
_AT_ONCE = 10
_PLACES = ("harbor", "library", "market", "museum", "office", "school", "station", "theater")
_EVENTS = ("a fire", "a flood", "a storm", "a strike", "a repair", "an inspection")
_OPENINGS = ("on Monday", "on Friday", "next week", "in June", "after the holidays")
_EXTRAS = (
    "Nobody was hurt.",
    "The costs are not known yet.",
    "A meeting about it is planned for Thursday.",
    "Two people asked for their money back.",
    "The manager thanked everyone for their help.",
)


class ScriptedModels(LoopbackServer):
    """Answers requests for examples of a task, and for scores of attempts, as a model would."""

    def respond(self, request: dict[str, Any]) -> Response:
        asked = json.loads(request["messages"][1]["content"])
        answer = judged(asked) if "attempts" in asked else written(asked)
        return completion(json.dumps(answer), tokens=(1_000, 100))


def written(asked: dict[str, Any]) -> dict[str, Any]:
    """Documents, others for every batch."""
    rng = random.Random(asked["batch"])
    return {"examples": [{"prompt": _document(rng), "answer": None} for _ in range(_AT_ONCE)]}


def _document(rng: random.Random) -> str:
    place, days = rng.choice(_PLACES), rng.randint(2, 30)
    first = f"The {place} is closed for {days} days because of {rng.choice(_EVENTS)}."
    last = f"It opens again {rng.choice(_OPENINGS)}."
    return " ".join([first, *rng.sample(_EXTRAS, 2), last])


def judged(asked: dict[str, Any]) -> dict[str, Any]:
    """A score for every attempt, whether they share their task or each has its own."""
    scores = []
    for attempt in asked["attempts"]:
        messages = [*asked.get("task", []), *attempt["messages"]]
        score, why = quality(_said("user", messages), _said("assistant", messages))
        scores.append({"id": attempt["id"], "explanation": why, "score": score})
    return {"scores": scores}


def quality(document: str, summary: str) -> tuple[float, str]:
    """The share of the summary's words that are the document's; less where these are few, or where
    the summary is long."""
    said, known = _words(summary), set(_words(document))
    shared = set(said) & known
    if not said:
        return 0.0, "It says nothing."
    score = len(shared) / len(set(said))
    score *= min(1.0, len(shared) / ENOUGH_WORDS) * min(1.0, MOST_WORDS / len(said))
    return round(score, 3), f"{len(shared)} of its {len(said)} words are the document's."


def _said(role: str, messages: list[dict[str, Any]]) -> str:
    return " ".join(str(m.get("content") or "") for m in messages if m["role"] == role)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
