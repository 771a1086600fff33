"""A model server that says what a script says, in the words of vLLM's OpenAI-compatible server.

    with ChatServer(calls(("search", {"word": "tax"})), says("I give up.")) as server:
        ...  # server.base_url, server.requests

Its token ids are the bytes of what it was sent and of what it says, so whoever has a reply's ids
can tell which conversation it belongs to.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

from tests.fakes.loopback import LoopbackServer, Response

Script = Callable[[dict[str, Any]], Response]
LOGPROB = -0.5


def prompt_ids(messages: list[dict[str, Any]]) -> list[int]:
    """The prompt's ids; a conversation's ids begin with those of every earlier turn."""
    return [byte for message in messages for byte in json.dumps(message, sort_keys=True).encode()]


def reply(
    request: dict[str, Any], message: dict[str, Any], finish_reason: str, usage: bool = True
) -> dict[str, Any]:
    """The body of a reply; token ids and logprobs where they were asked for."""
    message = {"role": "assistant", "content": None} | message
    ids, given = list(json.dumps(message).encode()), prompt_ids(request["messages"])
    choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": finish_reason}
    choice["logprobs"] = None
    if request.get("logprobs"):
        token = {"token": "t", "bytes": None, "logprob": LOGPROB, "top_logprobs": []}
        choice["logprobs"] = {"content": [token for _ in ids]}
    body: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": request["model"],
        "choices": [choice],
    }
    if request.get("return_token_ids"):
        body["prompt_token_ids"], choice["token_ids"] = given, ids
    if usage:
        numbers = {"prompt_tokens": len(given), "completion_tokens": len(ids)}
        body["usage"] = numbers | {"total_tokens": len(given) + len(ids)}
    return body


def calls(*named: tuple[str, dict[str, Any] | str], finish_reason: str = "tool_calls") -> Script:
    """Tool calls. Arguments given as a text are sent as they are, whatever it says."""

    def script(request: dict[str, Any]) -> Response:
        tool_calls = []
        for index, (name, arguments) in enumerate(named):
            text = arguments if isinstance(arguments, str) else json.dumps(arguments)
            call = {"id": f"call_{index}", "type": "function"}
            tool_calls.append(call | {"function": {"name": name, "arguments": text}})
        return Response(reply(request, {"tool_calls": tool_calls}, finish_reason))

    return script


def says(text: str, finish_reason: str = "stop") -> Script:
    return lambda request: Response(reply(request, {"content": text}, finish_reason))


def fails(status: int, code: str | int | None = None, message: str = "it broke") -> Script:
    """An error in OpenAI's form; a client that tries again does so at once."""
    error = {"message": message, "type": "error", "param": None, "code": code}
    return lambda _: Response({"error": error}, status, {"retry-after-ms": "1"})


def sends(body: object, content_type: str = "application/json") -> Script:
    return lambda _: Response(body, content_type=content_type)


def silence(request: dict[str, Any]) -> Response:
    return Response("", hangs=True)


def late(script: Script, gate: threading.Event) -> Script:
    """What ``script`` says, once ``gate`` is set."""

    def delayed(request: dict[str, Any]) -> Response:
        response = script(request)
        response.gate = gate
        return response

    return delayed


class ChatServer(LoopbackServer):
    """Follows its scripts one request at a time; the last one is for all further requests."""

    def __init__(self, *scripts: Script) -> None:
        super().__init__()
        self._scripts = list(scripts)

    def respond(self, request: dict[str, Any]) -> Response:
        script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
        return script(request)


def by_turn(*scripts: Script) -> Script:
    """For conversations side by side: each follows the scripts at its own pace."""

    def script(request: dict[str, Any]) -> Response:
        turn = sum(message["role"] == "assistant" for message in request["messages"])
        return scripts[min(turn, len(scripts) - 1)](request)

    return script
