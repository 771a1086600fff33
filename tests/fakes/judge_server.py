"""A judge that scores attempts by a number written in them, and misbehaves as it is told to.

An attempt that says ``quality 0.7`` anywhere deserves 0.7. The manners a judge can have are the
functions here: each makes an answer out of the ids it was shown and what they deserve.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from tests.fakes.completions import completion, http_error
from tests.fakes.loopback import LoopbackServer, Response

Deserved = dict[str, float]
Manner = Callable[[Deserved], Response]
_QUALITY = re.compile(r"quality ([-\d.]+)")


def shown(request: dict[str, Any]) -> dict[str, Any]:
    """What a request shows the judge: the task, the tools and the attempts."""
    return json.loads(request["messages"][1]["content"])


def _scores(pairs: list[tuple[str, Any]]) -> str:
    scores = [{"id": id_, "explanation": "as it deserves", "score": s} for id_, s in pairs]
    return json.dumps({"scores": scores})


def good(deserved: Deserved) -> Response:
    return completion(_scores(list(deserved.items())))


def backwards(deserved: Deserved) -> Response:
    """The right scores in the reversed order of what was shown."""
    return completion(_scores(list(deserved.items())[::-1]))


def first_is_best(deserved: Deserved) -> Response:
    """Nothing counts but the place an attempt is shown in."""
    last = max(1, len(deserved) - 1)
    pairs = [(id_, 1 - place / last) for place, id_ in enumerate(deserved)]
    return completion(_scores(pairs))


def scoring(score: float) -> Manner:
    """The first attempt gets this score."""

    def manner(deserved: Deserved) -> Response:
        first = next(iter(deserved))
        return completion(_scores(list((deserved | {first: score}).items())))

    return manner


def nothing(deserved: Deserved) -> Response:
    return completion(_scores([]))


def one_missing(deserved: Deserved) -> Response:
    return completion(_scores(list(deserved.items())[1:]))


def one_too_many(deserved: Deserved) -> Response:
    return completion(_scores([*deserved.items(), ("ffffff", 0.5)]))


def unknown_id(deserved: Deserved) -> Response:
    return completion(_scores([("ffffff", 0.5), *list(deserved.items())[1:]]))


def same_id_twice(deserved: Deserved) -> Response:
    first = next(iter(deserved.items()))
    return completion(_scores([first, *list(deserved.items())[:-1]]))


def one_repeated(deserved: Deserved) -> Response:
    return completion(_scores([*deserved.items(), next(iter(deserved.items()))]))


def broken_json(deserved: Deserved) -> Response:
    return completion(_scores(list(deserved.items()))[:-3])


def prose(deserved: Deserved) -> Response:
    return completion(f"Here you are: {_scores(list(deserved.items()))} Anything else?")


def words_for_scores(deserved: Deserved) -> Response:
    return completion(_scores([(id_, "very good") for id_ in deserved]))


def not_a_number(deserved: Deserved) -> Response:
    return completion(_scores([(id_, float("nan")) for id_ in deserved]))


def refusal(deserved: Deserved) -> Response:
    return completion(None, refusal="I would rather not.")


def no_choices(deserved: Deserved) -> Response:
    return Response(good(deserved).body | {"choices": []})


def web_page(deserved: Deserved) -> Response:
    return Response("<html>maintenance</html>", content_type="text/html")


def silence(deserved: Deserved) -> Response:
    return Response("", hangs=True)


def failing(status: int, **headers: str) -> Manner:
    """An HTTP error; ``Retry_After`` may be among the headers."""
    return lambda _: http_error(status, **headers)


class JudgeServer(LoopbackServer):
    """Shows its manners one request at a time, and keeps the last one."""

    def __init__(self, *manners: Manner) -> None:
        super().__init__()
        self._manners = list(manners)

    def follow(self, *manners: Manner) -> None:
        """Others from now on, and nothing was asked yet."""
        with self.lock:
            self._manners = list(manners)
            self.requests.clear()
            self.headers.clear()

    def respond(self, request: dict[str, Any]) -> Response:
        manner = self._manners.pop(0) if len(self._manners) > 1 else self._manners[0]
        deserved = {
            attempt["id"]: float(quality[1]) if (quality := _QUALITY.search(str(attempt))) else 0.0
            for attempt in shown(request)["attempts"]
        }
        return manner(deserved)
