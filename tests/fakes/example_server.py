"""A model that writes examples of a task, as it is told to."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.fakes.completions import completion
from tests.fakes.loopback import LoopbackServer, Response

Draft = tuple[str, str | None]
Manner = Callable[[dict[str, Any]], list[Draft] | Response]


def fresh(prompt: dict[str, Any]) -> list[Draft]:
    """Ten sums that no other batch has."""
    first = prompt["batch"] * 10
    return [(f"What is {n} + {n}?", str(2 * n)) for n in range(first, first + 10)]


def always(*drafts: Draft) -> Manner:
    return lambda prompt: list(drafts)


class ExampleServer(LoopbackServer):
    """Follows its manners one request at a time, and keeps the last one."""

    def __init__(self, *manners: Manner) -> None:
        super().__init__()
        self._manners = list(manners)
        self.prompts: list[dict[str, Any]] = []

    def follow(self, *manners: Manner) -> None:
        """Others from now on, and nothing was asked yet."""
        with self.lock:
            self._manners = list(manners)
            self.requests.clear()
            self.headers.clear()
            self.prompts.clear()

    def respond(self, request: dict[str, Any]) -> Response:
        manner = self._manners.pop(0) if len(self._manners) > 1 else self._manners[0]
        self.prompts.append(json.loads(request["messages"][1]["content"]))
        drafts = manner(self.prompts[-1])
        if isinstance(drafts, Response):
            return drafts
        examples = [{"prompt": prompt, "answer": answer} for prompt, answer in drafts]
        return completion(json.dumps({"examples": examples}), tokens=(1_000, 100))
