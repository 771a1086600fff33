"""Hosted models of known behaviour that play the email agent, by the name they are asked for."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any

from environment.email_search.models import EmailScenario
from environment.email_search.tools import ANSWER, SEARCH
from tests.fakes.chat_server import ChatServer, Script, calls, fails, late, reply, says
from tests.fakes.loopback import Response

SLOW_S = 0.4
WRONG = "forty-two purple elephants"


def paraphrase(answer: str) -> str:
    """Right for whoever reads it, too wordy for a match."""
    return f"If you ask me it must have been {answer}, beyond any reasonable doubt whatsoever"


class HostedModels(ChatServer):
    """Answers as ``model`` says: right (after a search), wrong, wordy, slow (right, each reply
    late), limited (always over its rate limit), broken, refuses, filtered; any other name is as
    right is, without a search and without sources."""

    def __init__(self, scenarios: Mapping[str, EmailScenario]) -> None:
        super().__init__(self._play)
        self._scenarios = scenarios

    def _play(self, request: dict[str, Any]) -> Response:
        question = request["messages"][1]["content"].splitlines()[-1]
        scenario = self._scenarios[question]
        gold, sources = scenario.answer, list(scenario.message_ids)
        answer = calls((ANSWER, {"answer": gold, "source_ids": sources}))
        searched = any(message["role"] == "tool" for message in request["messages"])
        search_first = answer if searched else calls((SEARCH, {"keywords": ["the"]}))
        scripts: dict[str, Script] = {
            "right": search_first,
            "wrong": calls((ANSWER, {"answer": WRONG, "source_ids": sources})),
            "wordy": calls((ANSWER, {"answer": paraphrase(gold), "source_ids": sources})),
            "slow": _late(search_first),
            "limited": fails(429, "rate_limit_exceeded"),
            "broken": fails(400),
            "refuses": _refuses,
            "filtered": says("", finish_reason="content_filter"),
        }
        plain = calls((ANSWER, {"answer": gold}))
        return scripts.get(request["model"], plain)(request)


def _refuses(request: dict[str, Any]) -> Response:
    return Response(reply(request, {"refusal": "I cannot help with that."}, "stop"))


def _late(script: Script) -> Script:
    gate = threading.Event()
    threading.Timer(SLOW_S, gate.set).start()
    return late(script, gate)


def judges(request: dict[str, Any]) -> Response:
    """A judge of correctness for whom an answer is right if the gold answer stands in it; of an
    answer that is wrong as ``WRONG`` is, it never gives a verdict."""
    prompt = json.loads(request["messages"][1]["content"])
    answer = prompt["answer_to_judge"]
    if answer == WRONG:
        return says("I am not sure.")(request)
    verdict = {"reason": "It says so.", "correct": prompt["gold_answer"] in answer}
    return says(json.dumps(verdict))(request)


def by_question(scenarios: list[EmailScenario]) -> dict[str, EmailScenario]:
    return {scenario.question: scenario for scenario in scenarios}
