from __future__ import annotations

import json
from typing import Any

import pytest

from backends.tool_calls import parse_tool_calls, template_messages


def call(body: str) -> str:
    return f"<tool_call>\n{body}\n</tool_call>"


SEARCH = '{"name": "search", "arguments": {"words": ["tax", "été"]}}'
GOOD: list[tuple[str, str, str | None, list[tuple[str, dict[str, Any]]]]] = [
    ("one", call(SEARCH), None, [("search", {"words": ["tax", "été"]})]),
    ("no lines", f"<tool_call>{SEARCH}</tool_call>", None, [("search", {"words": ["tax", "été"]})]),
    ("no arguments", call('{"name": "stop"}'), None, [("stop", {})]),
    ("more keys", call('{"id": 1, "name": "a", "arguments": {}}'), None, [("a", {})]),
    ("text around", f"I search. {call(SEARCH)}", "I search.", [("search", {"words": ["tax", "été"]})]),
    (
        "two",
        call('{"name": "a", "arguments": {"x": 1}}') + "\n" + call('{"name": "b", "arguments": {}}'),
        None,
        [("a", {"x": 1}), ("b", {})],
    ),
    (
        "braces in a text",
        call('{"name": "a", "arguments": {"x": "}<tool_call>{"}}'),
        None,
        [("a", {"x": "}<tool_call>{"})],
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "content", "expected"), [g[1:] for g in GOOD], ids=[g[0] for g in GOOD]
)
def test_calls_are_read(
    text: str, content: str | None, expected: list[tuple[str, dict[str, Any]]]
) -> None:
    found_content, calls = parse_tool_calls(text)
    functions = [call["function"] for call in calls]
    assert [(f["name"], json.loads(f["arguments"])) for f in functions] == expected
    assert found_content == content
    assert {call["type"] for call in calls} == {"function"}
    assert len({call["id"] for call in calls}) == len(calls)


BAD = {
    "nothing": "",
    "plain text": "It is a levy.",
    "no end": f"<tool_call>{SEARCH[:-1]}",
    "no JSON": call("search(tax)"),
    "cut JSON": call(SEARCH[:-1]),
    "a list": call(f"[{SEARCH}]"),
    "no name": call('{"arguments": {}}'),
    "a number for a name": call('{"name": 5, "arguments": {}}'),
    "a list of arguments": call('{"name": "a", "arguments": ["tax"]}'),
    "arguments as text": call('{"name": "a", "arguments": "{}"}'),
    "no arguments but null": call('{"name": "a", "arguments": null}'),
    "a good one and a bad one": call(SEARCH) + call("search(tax)"),
    "a good one and one cut off": call(SEARCH) + '<tool_call>{"name": "sea',
    "nested": call(call(SEARCH)),
    "empty": call(""),
    "very deep": call('{"name": "a", "arguments": ' + "[" * 100_000),
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_what_is_no_call_leaves_the_text_as_it_is(text: str) -> None:
    assert parse_tool_calls(text) == (text, [])


def test_letters_of_all_languages_stay_as_they_are() -> None:
    _, [tool_call] = parse_tool_calls(call(SEARCH))
    assert "été" in tool_call["function"]["arguments"]


def openai_call(arguments: object) -> dict[str, Any]:
    return {"id": "1", "type": "function", "function": {"name": "a", "arguments": arguments}}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"role": "user", "content": "hi"}, {"role": "user", "content": "hi"}),
        ({"role": "user", "content": None}, {"role": "user", "content": ""}),
        ({"role": "user"}, {"role": "user", "content": ""}),
        (
            {
                "role": "user",
                "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
            },
            {"role": "user", "content": "ab"},
        ),
        ({"role": "assistant", "tool_calls": None}, {"role": "assistant", "content": ""}),
        ({"role": "assistant", "tool_calls": []}, {"role": "assistant", "content": ""}),
        (
            {"role": "assistant", "tool_calls": [openai_call('{"x": [1]}')]},
            {"role": "assistant", "content": "", "tool_calls": [openai_call({"x": [1]})]},
        ),
        (
            {"role": "assistant", "tool_calls": [openai_call("")]},
            {"role": "assistant", "content": "", "tool_calls": [openai_call({})]},
        ),
        (
            {"role": "assistant", "tool_calls": [openai_call({"x": 1})]},
            {"role": "assistant", "content": "", "tool_calls": [openai_call({"x": 1})]},
        ),
    ],
)
def test_messages_become_what_templates_take(
    message: dict[str, Any], expected: dict[str, Any]
) -> None:
    before = json.dumps(message)
    assert template_messages([message]) == [expected]
    assert json.dumps(message) == before


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": 5},
        {"role": "user", "content": {"text": "a"}},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},
        {"role": "user", "content": ["a"]},
        {"role": "assistant", "tool_calls": [openai_call('{"x": ')]},
    ],
)
def test_messages_that_no_template_takes_are_refused(message: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"text|Expecting"):
        template_messages([{"role": "user", "content": "hi"}, message])
