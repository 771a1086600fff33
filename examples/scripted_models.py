"""A scripted model server on loopback, in place of writer and judge on machines without a key.

It follows simple rules: it writes short news from word lists, and scores a summary by its length and
the share of its words that occur in the document.
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
    """Answers requests for examples of a task and for scores of attempts."""

    def respond(self, request: dict[str, Any]) -> Response:
        prompt = json.loads(request["messages"][1]["content"])
        answer = scores_of(prompt) if "attempts" in prompt else examples_of(prompt)
        return completion(json.dumps(answer), tokens=(1_000, 100))


def examples_of(prompt: dict[str, Any]) -> dict[str, Any]:
    """Documents, different for every batch."""
    rng = random.Random(prompt["batch"])
    return {"examples": [{"prompt": _document(rng), "answer": None} for _ in range(_AT_ONCE)]}


def _document(rng: random.Random) -> str:
    place, days = rng.choice(_PLACES), rng.randint(2, 30)
    first = f"The {place} is closed for {days} days because of {rng.choice(_EVENTS)}."
    last = f"It opens again {rng.choice(_OPENINGS)}."
    return " ".join([first, *rng.sample(_EXTRAS, 2), last])


def scores_of(prompt: dict[str, Any]) -> dict[str, Any]:
    """A score for every attempt, with or without a shared task."""
    scores = []
    for attempt in prompt["attempts"]:
        messages = [*prompt.get("task", []), *attempt["messages"]]
        score, why = quality(_text_of("user", messages), _text_of("assistant", messages))
        scores.append({"id": attempt["id"], "explanation": why, "score": score})
    return {"scores": scores}


def quality(document: str, summary: str) -> tuple[float, str]:
    """The share of the summary's words that occur in the document, reduced if they are few or the summary
    is long."""
    words = _words(summary)
    if not words:
        return 0.0, "It is empty."
    shared = set(words) & set(_words(document))
    score = len(shared) / len(set(words))
    score *= min(1.0, len(shared) / ENOUGH_WORDS) * min(1.0, MOST_WORDS / len(words))
    return round(score, 3), f"{len(shared)} of its {len(words)} words occur in the document."


def _text_of(role: str, messages: list[dict[str, Any]]) -> str:
    return " ".join(str(m.get("content") or "") for m in messages if m["role"] == role)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
