"""An OpenAI-compatible server that gives the answers it was told to, in their order."""

from __future__ import annotations

from typing import Any

from tests.fakes.loopback import LoopbackServer, Response


def completion(
    content: str | None, refusal: str | None = None, tokens: tuple[int, int] = (1, 1)
) -> Response:
    """A chat completion with this text; ``tokens``: of the prompt and of the answer."""
    message = {"role": "assistant", "content": content, "refusal": refusal}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    given, written = tokens
    usage = {"prompt_tokens": given, "completion_tokens": written, "total_tokens": given + written}
    head = {"id": "1", "object": "chat.completion", "created": 1, "model": "scripted"}
    return Response(head | {"choices": [choice], "usage": usage})


def http_error(status: int, **headers: str) -> Response:
    """``Retry_After="1"`` is sent as ``Retry-After: 1``."""
    error = {"error": {"message": "not now", "type": "error", "param": None, "code": None}}
    return Response(error, status, {name.replace("_", "-"): v for name, v in headers.items()})


class CompletionsServer(LoopbackServer):
    """The last answer is given again and again."""

    def __init__(self, *responses: Response) -> None:
        super().__init__()
        self._responses = list(responses)

    def respond(self, request: dict[str, Any]) -> Response:
        return self._responses.pop(0) if len(self._responses) > 1 else self._responses[0]
