"""Reads tool calls from a model's text, in the dialects of vLLM's tool parsers, under their names.

Nothing is repaired: if a call is not of the right shape or is truncated, the text is returned
unchanged and without calls. The agent counts that as malformed.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal
from uuid import uuid4

Dialect = Literal["hermes", "llama3_json", "mistral", "pythonic"]
ToolParser = Literal["auto", Dialect]
Call = dict[str, Any]

# Mistral's templates accept no other ids.
_ID = re.compile("[A-Za-z0-9]{9}")
_THINKING, _THOUGHT = "<think>", "</think>"


class _NotACall(ValueError):
    """Why a text is no call."""


def parse_tool_calls(
    text: str, dialect: Dialect = "hermes", thinking: bool = False
) -> tuple[str | None, list[Call]]:
    """Split a model's output into content and calls, in OpenAI's format. Calls in the model's
    thinking do not count.

    Args:
        thinking: whether the prompt ends inside the thinking.
    """
    thoughts, answer = "", text
    if thinking or text.lstrip().startswith(_THINKING):
        before, end, answer = text.partition(_THOUGHT)
        thoughts = before + end
    try:
        rest, calls = _READERS[dialect](answer)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text, []
    if not calls:
        return text, []
    return (thoughts + rest).strip() or None, calls


def _hermes(text: str) -> tuple[str, list[Call]]:
    """``<tool_call>{"name": ..., "arguments": {...}}</tool_call>``, for each call. The last end tag
    may be missing."""
    opening, closing = "<tool_call>", "</tool_call>"
    rest, calls, at = "", [], 0
    while (start := text.find(opening, at)) >= 0:
        rest += text[at:start]
        value, at = _json(text, start + len(opening))
        calls.append(_call(value))
        if text.startswith(closing, at):
            at += len(closing)
        elif at < len(text):
            raise _NotACall("text between a call and its end")
    return rest + text[at:], calls


def _llama3_json(text: str) -> tuple[str, list[Call]]:
    """``{"name": ..., "parameters": {...}}``, for each call, separated by semicolons."""
    rest, calls, at = "", [], 0
    while (start := text.find("{", at)) >= 0:
        rest += text[at:start]
        value, at = _json(text, start)
        calls.append(_call(value))
    rest += text[at:]
    return rest.replace("<|python_tag|>", "").strip("; \n"), calls


def _mistral(text: str) -> tuple[str, list[Call]]:
    """``[TOOL_CALLS][{"name": ..., "arguments": {...}}]`` or, from Mistral's eleventh tokenizer on,
    ``[TOOL_CALLS]name[ARGS]{...}`` for each call."""
    mark = "[TOOL_CALLS]"
    rest, found, tail = text.partition(mark)
    if tail.lstrip().startswith("["):
        values, at = _json(tail, 0)
        if tail[at:].strip():
            raise _NotACall("text after the calls")
        return rest, [_call(value) for value in values]
    calls, at = [], 0
    while found and at < len(tail):
        name, _, _ = tail[at:].partition("{")
        value, end = _json(tail, at + len(name))
        name = name.removeprefix(mark).partition("[CALL_ID]")[0].removesuffix("[ARGS]").strip()
        calls.append(_call({"name": name, "arguments": value}))
        at = end
        if at < len(tail) and not tail.startswith(mark, at):
            raise _NotACall("text after a call")
    return rest, calls


def _pythonic(text: str) -> tuple[str, list[Call]]:
    """``[name(argument=value), ...]``; the values are Python or JSON literals."""
    if not text.lstrip().startswith("["):
        return text, []
    with warnings.catch_warnings(action="ignore", category=SyntaxWarning):  # of odd escapes
        expression = ast.parse(text.strip(), mode="eval").body
    if not isinstance(expression, ast.List):
        raise _NotACall("not a list of calls")
    return "", [_from_python(element) for element in expression.elts]


def _from_python(node: ast.expr) -> Call:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.args:
        raise _NotACall("not a call with named arguments")
    arguments = {str(k.arg): _literal(k.value) for k in node.keywords if k.arg}
    if len(arguments) < len(node.keywords):
        raise _NotACall("an argument without a name, or two of one name")
    return _call({"name": node.func.id, "arguments": arguments})


class _Literals(ast.NodeTransformer):
    """Reads JSON's words for Python's constants."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        words = {"true": True, "false": False, "null": None}
        return ast.Constant(words[node.id]) if node.id in words else node


def _literal(node: ast.expr) -> Any:
    return ast.literal_eval(_Literals().visit(node))


_READERS: dict[Dialect, Callable[[str], tuple[str, list[Call]]]] = {
    "hermes": _hermes,
    "llama3_json": _llama3_json,
    "mistral": _mistral,
    "pythonic": _pythonic,
}


def _not_json(constant: str) -> Any:
    raise _NotACall(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_not_json)
_SPACE = re.compile(r"\s*")


def _json(text: str, at: int) -> tuple[Any, int]:
    """The JSON value that begins at ``at``, and where the next text begins."""
    value, end = _DECODER.raw_decode(text, _after_space(text, at))
    return value, _after_space(text, end)


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _call(value: Any) -> Call:
    """
    Raises:
        _NotACall: not an object with a name and arguments, or with values that JSON lacks.
    """
    if not isinstance(value, dict) or not isinstance(value.get("name"), str) or not value["name"]:
        raise _NotACall("a call without a name")
    arguments = value["arguments"] if "arguments" in value else value.get("parameters")
    if isinstance(arguments, str):
        arguments = _DECODER.decode(arguments)
    if not isinstance(arguments, dict):
        raise _NotACall("a call without arguments")
    # A float that overflows becomes infinite, which is not JSON.
    text = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
    written = value.get("id")
    own = isinstance(written, str) and _ID.fullmatch(written)
    return {
        "id": written if own else uuid4().hex[:9],
        "type": "function",
        "function": {"name": value["name"], "arguments": text},
    }


def template_messages(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Convert OpenAI messages for chat templates: text content, arguments as objects, ids that all
    templates accept.

    Raises:
        ValueError: content that is not text, or arguments that are not JSON.
    """
    result = []
    for message in messages:
        new = {**message, "content": _text(message.get("content"))}
        if calls := message.get("tool_calls"):
            new["tool_calls"] = [_for_template(call) for call in calls]
        else:
            new.pop("tool_calls", None)
        if "tool_call_id" in new:
            new["tool_call_id"] = _short_id(new["tool_call_id"])
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


def _short_id(written: str) -> str:
    """The id itself if every template accepts it, else one that stands for it."""
    if _ID.fullmatch(written):
        return written
    return hashlib.blake2b(written.encode(errors="replace")).hexdigest()[:9]


def _for_template(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    arguments = function["arguments"]
    if isinstance(arguments, str):
        arguments = json.loads(arguments or "{}")
    return {
        **call,
        "id": _short_id(call.get("id") or ""),
        "function": {**function, "arguments": arguments},
    }
