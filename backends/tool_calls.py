"""Tool calls in the Hermes format of Qwen models: ``<tool_call>{...}</tool_call>``.

Nothing is repaired: if a call is not a JSON object of the right shape or is truncated, the text is
returned unchanged and without calls, as in vLLM's parser. The agent counts that as malformed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

_CALL = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)


def parse_tool_calls(text: str) -> tuple[str | None, list[dict[str, Any]]]:
    """Split a model's output into content and calls, in OpenAI's format."""
    calls = []
    for match in _CALL.finditer(text):
        try:
            call = json.loads(match[1])
        except (json.JSONDecodeError, RecursionError):
            return text, []
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            return text, []
        arguments = call.get("arguments", {})
        if not isinstance(arguments, dict):
            return text, []
        function = {"name": call["name"], "arguments": json.dumps(arguments, ensure_ascii=False)}
        calls.append({"id": f"call_{uuid4().hex[:24]}", "type": "function", "function": function})
    rest = _CALL.sub("", text)
    if not calls or "<tool_call>" in rest:
        return text, []
    return rest.strip() or None, calls


def template_messages(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Convert OpenAI messages for chat templates: text content, arguments as objects.

    Raises:
        ValueError: content that is not text, or arguments that are not JSON.
    """
    result = []
    for message in messages:
        new = {**message, "content": _text(message.get("content"))}
        if calls := message.get("tool_calls"):
            new["tool_calls"] = [_with_object_arguments(call) for call in calls]
        else:
            new.pop("tool_calls", None)
        result.append(new)
    return result


def _text(content: object) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, list) and all(
        isinstance(part, dict) and part.get("type") == "text" for part in content
    ):
        return "".join(part["text"] for part in content)
    raise ValueError("message content must be text")


def _with_object_arguments(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    arguments = function["arguments"]
    if isinstance(arguments, str):
        arguments = json.loads(arguments or "{}")
    return {**call, "function": {**function, "arguments": arguments}}
