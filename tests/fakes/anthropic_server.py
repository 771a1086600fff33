"""A model server in Anthropic's dialect, for what only its shape can show: a tool call as a content
block, tool results as a user's message, a refusal as a stop reason."""

from __future__ import annotations

from typing import Any

from tests.fakes.loopback import LoopbackServer, Response


class AnthropicServer(LoopbackServer):
    """Calls ``look_up``, then ``answer`` with what the tool said; refuses where it is asked for
    the word ``bomb``, and sends the statuses in ``failures`` before anything else."""

    def __init__(self, *failures: tuple[int, str]) -> None:
        super().__init__()
        self._failures = list(failures)

    @property
    def root_url(self) -> str:
        return self.base_url.removesuffix("/v1")

    def respond(self, request: dict[str, Any]) -> Response:
        if self._failures:
            status, message = self._failures.pop(0)
            error = {"type": "error", "error": {"type": "some_error", "message": message}}
            return Response(error, status, {"retry-after": "0"})
        results = [
            block
            for message in request["messages"]
            if isinstance(message["content"], list)
            for block in message["content"]
            if block["type"] == "tool_result"
        ]
        if "bomb" in str(request["messages"][0]):
            return self._reply(request, [], "refusal")
        name, arguments = ("answer", {"answer": "yes"}) if results else ("look_up", {"word": "tax"})
        call = {"type": "tool_use", "id": f"toolu_{len(results)}", "name": name, "input": arguments}
        return self._reply(request, [call], "tool_use")

    def _reply(self, request: dict[str, Any], content: list[dict[str, Any]], stop: str) -> Response:
        return Response(
            {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "model": request["model"],
                "content": content,
                "stop_reason": stop,
                "stop_sequence": None,
                "usage": {"input_tokens": 1000, "output_tokens": 100},
            }
        )
