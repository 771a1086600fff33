from __future__ import annotations

import json
import re
from typing import Any

import pytest

from backends.tool_calls import Dialect, parse_tool_calls, template_messages


def call(body: str) -> str:
    return f"<tool_call>\n{body}\n</tool_call>"


SEARCH = '{"name": "search", "arguments": {"words": ["tax", "été"]}}'
GOOD: list[tuple[str, str, str | None, list[tuple[str, dict[str, Any]]]]] = [
    ("one", call(SEARCH), None, [("search", {"words": ["tax", "été"]})]),
    ("no lines", f"<tool_call>{SEARCH}</tool_call>", None, [("search", {"words": ["tax", "été"]})]),
    ("no arguments", call('{"name": "stop", "arguments": {}}'), None, [("stop", {})]),
    ("more keys", call('{"id": 1, "name": "a", "arguments": {}}'), None, [("a", {})]),
    ("text around", f"I search. {call(SEARCH)}", "I search.", [("search", {"words": ["tax", "été"]})]),
    (
        "two",
        call('{"name": "a", "arguments": {"x": 1}}') + "\n" + call('{"name": "b", "arguments": {}}'),
        None,
        [("a", {"x": 1}), ("b", {})],
    ),
    ("arguments as text", call('{"name": "a", "arguments": "{\\"x\\": 1}"}'), None, [("a", {"x": 1})]),
    ("parameters", call('{"name": "a", "parameters": {"x": 1}}'), None, [("a", {"x": 1})]),
    ("no end tag", f"<tool_call>\n{SEARCH}\n", None, [("search", {"words": ["tax", "été"]})]),
    ("an end tag in a text", call('{"name": "a", "arguments": {"x": "</tool_call>"}}'), None, [("a", {"x": "</tool_call>"})]),
    ("thinking", f"<think>I try {call(SEARCH)}</think>\n{call(SEARCH)}", f"<think>I try {call(SEARCH)}</think>", [("search", {"words": ["tax", "été"]})]),
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
    "arguments as a list in text": call('{"name": "a", "arguments": "[]"}'),
    "arguments as other text": call('{"name": "a", "arguments": "x = 1"}'),
    "no arguments": call('{"name": "a"}'),
    "not a number": call('{"name": "a", "arguments": {"x": NaN}}'),
    "infinity": call('{"name": "a", "arguments": {"x": -Infinity}}'),
    "too large a number": call('{"name": "a", "arguments": {"x": 1e999}}'),
    "only thought": f"<think>I try {call(SEARCH)}",
    "text before the end tag": f"<tool_call>{SEARCH} ok</tool_call>",
    "no arguments but null": call('{"name": "a", "arguments": null}'),
    "a good one and a bad one": call(SEARCH) + call("search(tax)"),
    "a good one and one cut off": call(SEARCH) + '<tool_call>{"name": "sea',
    "nested": call(call(SEARCH)),
    "empty": call(""),
    "very deep": call('{"name": "a", "arguments": ' + "[" * 100_000),
}


WORDS = {"words": ["tax", "été"]}
TRUE = {"x": True, "y": None, "z": [1, {"a": -2.5}]}
DIALECTS: list[tuple[Dialect, str, str | None, list[tuple[str, dict[str, Any]]]]] = [
    ("llama3_json", '{"name": "a", "parameters": {"x": 1}}', None, [("a", {"x": 1})]),
    ("llama3_json", f"<|python_tag|>{SEARCH}; {SEARCH}", None, [("search", WORDS)] * 2),
    ("llama3_json", f"I search. {SEARCH}", "I search.", [("search", WORDS)]),
    ("mistral", f"[TOOL_CALLS] [{SEARCH}, {SEARCH}]", None, [("search", WORDS)] * 2),
    ("mistral", f"So. [TOOL_CALLS][{SEARCH}]\n", "So.", [("search", WORDS)]),
    ("mistral", '[TOOL_CALLS]a[ARGS]{"x": 1}[TOOL_CALLS]b{}', None, [("a", {"x": 1}), ("b", {})]),
    ("mistral", '[TOOL_CALLS]a[CALL_ID]123456789[ARGS]{"x": 1}', None, [("a", {"x": 1})]),
    ("pythonic", "[search(words=['tax', \"été\"])]", None, [("search", WORDS)]),
    ("pythonic", "[a(), b(x=true, y=null, z=[1, {'a': -2.5}])]", None, [("a", {}), ("b", TRUE)]),
]


@pytest.mark.parametrize(("dialect", "text", "content", "expected"), DIALECTS)
def test_calls_of_other_dialects_are_read(
    dialect: Dialect, text: str, content: str | None, expected: list[tuple[str, dict[str, Any]]]
) -> None:
    seen, calls = parse_tool_calls(text, dialect)
    functions = [call["function"] for call in calls]
    assert [(f["name"], json.loads(f["arguments"])) for f in functions] == expected
    assert seen == content


NO_CALLS: list[tuple[Dialect, str]] = [
    ("llama3_json", "It is a levy."),
    ("llama3_json", '{"name": "a"}'),
    ("llama3_json", '{"answer": 5}'),
    ("llama3_json", SEARCH[:-1]),
    ("llama3_json", f"{SEARCH}; {SEARCH[:-1]}"),
    ("mistral", "It is a levy."),
    ("mistral", SEARCH),
    ("mistral", f"[TOOL_CALLS] [{SEARCH}"),
    ("mistral", f"[TOOL_CALLS] [{SEARCH}] or so"),
    ("mistral", f"[TOOL_CALLS] {SEARCH}"),
    ("mistral", "[TOOL_CALLS]a[ARGS][1]"),
    ("mistral", '[TOOL_CALLS]a[ARGS]{"x": 1} or so'),
    ("mistral", "[TOOL_CALLS]"),
    ("pythonic", "It is a levy."),
    ("pythonic", "a(x=1)"),
    ("pythonic", "[1, 2]"),
    ("pythonic", "[a(1)]"),
    ("pythonic", "[a(**{'x': 1})]"),
    ("pythonic", "[a(x=b)]"),
    ("pythonic", "[a(x=__import__('os').getcwd())]"),
    ("pythonic", "[os.getcwd()]"),
    ("pythonic", "[a(x=1e999)]"),
    ("pythonic", "[a(x=1, x=2)]"),
    ("pythonic", "[a(x='cut off"),
    ("pythonic", "[a(x=" + "[" * 10_000),
    ("pythonic", "[a(x=1)] and more"),
]


@pytest.mark.parametrize(("dialect", "text"), NO_CALLS)
def test_what_is_no_call_in_a_dialect_leaves_the_text_as_it_is(dialect: Dialect, text: str) -> None:
    assert parse_tool_calls(text, dialect) == (text, [])


def test_a_prompt_may_end_inside_the_thinking() -> None:
    text = f"I try {call(SEARCH)}.</think>{call(SEARCH)}"
    content, calls = parse_tool_calls(text, thinking=True)
    assert (content, len(calls)) == (f"I try {call(SEARCH)}.</think>", 1)
    assert parse_tool_calls(f"I try {call(SEARCH)}", thinking=True)[1] == []


def test_ids_are_such_that_every_template_takes_them() -> None:
    _, [own] = parse_tool_calls(
        '[TOOL_CALLS][{"name": "a", "arguments": {}, "id": "Ab3456789"}]', "mistral"
    )
    assert own["id"] == "Ab3456789"
    _, calls = parse_tool_calls(call('{"name": "a", "arguments": {}, "id": "1"}') * 20)
    assert all(re.fullmatch("[0-9a-zA-Z]{9}", each["id"]) for each in calls)
    result = {"role": "tool", "tool_call_id": "call_42", "content": "5"}
    made = {"role": "assistant", "tool_calls": [openai_call({}) | {"id": "call_42"}]}
    [turn, answer] = template_messages([made, result])
    assert turn["tool_calls"][0]["id"] == answer["tool_call_id"]
    assert len(answer["tool_call_id"]) == 9


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_what_is_no_call_leaves_the_text_as_it_is(text: str) -> None:
    assert parse_tool_calls(text) == (text, [])


def test_letters_of_all_languages_stay_as_they_are() -> None:
    _, [tool_call] = parse_tool_calls(call(SEARCH))
    assert "été" in tool_call["function"]["arguments"]


def openai_call(arguments: object) -> dict[str, Any]:
    return {
        "id": "abc123XYZ",
        "type": "function",
        "function": {"name": "a", "arguments": arguments},
    }


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
