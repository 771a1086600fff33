from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI, OpenAI

from backends.tool_calls import parse_tool_calls
from tests.backends.pocket import QUESTIONS, SYSTEM, TOOLS, Served, logprobs_of, serve

HI: Any = [{"role": "user", "content": "hi"}]
KEY = "a-secret"


def conversation(question: str) -> Any:
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[OpenAI]:
    with OpenAI(base_url=served.base_url, api_key="none", max_retries=1) as client:
        yield client


def ask(client: OpenAI, messages: Any = HI, **options: Any) -> Any:
    options = {"model": "pocket", "max_tokens": 12, "temperature": 0} | options
    return client.chat.completions.create(messages=messages, **options)


def exact(client: OpenAI, messages: Any = HI, **options: Any) -> Any:
    options = {"logprobs": True, "extra_body": {"return_token_ids": True}} | options
    return ask(client, messages, **options)


def test_a_reply_has_openais_form(client: OpenAI) -> None:
    reply = ask(client)
    [choice] = reply.choices
    assert (reply.object, reply.model, choice.index) == ("chat.completion", "pocket", 0)
    assert choice.message.role == "assistant"
    assert isinstance(choice.message.content, str)
    assert choice.message.tool_calls is None
    assert choice.logprobs is None
    assert "token_ids" not in (choice.model_extra or {})
    assert "prompt_token_ids" not in (reply.model_extra or {})


def test_the_exact_tokens_of_a_reply_come_with_it(client: OpenAI, served: Served) -> None:
    reply = exact(client, conversation(QUESTIONS[0]), tools=TOOLS, temperature=1, seed=4)
    [choice] = reply.choices
    tokenizer = served.policy.tokenizer
    prompt = tokenizer.apply_chat_template(
        conversation(QUESTIONS[0]), tools=TOOLS, add_generation_prompt=True, return_dict=False
    )
    assert reply.prompt_token_ids == prompt
    assert [entry.token for entry in choice.logprobs.content] == [
        tokenizer.decode([token]) for token in choice.token_ids
    ]
    expected = logprobs_of(served.policy.sampling_model(0), prompt + choice.token_ids)
    logprobs = [entry.logprob for entry in choice.logprobs.content]
    assert logprobs == pytest.approx(expected[len(prompt) - 1 :].tolist(), abs=5e-4)


def test_usage_counts_tokens(client: OpenAI) -> None:
    reply = exact(client)
    given, written = len(reply.prompt_token_ids), len(reply.choices[0].token_ids)
    usage = reply.usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (given, written)
    assert usage.total_tokens == given + written


def test_calls_and_content_are_what_was_written(client: OpenAI, served: Served) -> None:
    """Whatever the policy writes: calls where they can be read, and the text where not."""
    finishes = set()
    for seed in range(12):
        reply = exact(
            client,
            conversation(QUESTIONS[seed % 3]),
            tools=TOOLS,
            temperature=0.8,
            seed=seed,
            max_tokens=40,
        )
        [choice] = reply.choices
        ended = choice.token_ids[-1] in served.policy.end_ids
        text = served.policy.tokenizer.decode(choice.token_ids[: -1 if ended else None])
        content, calls = parse_tool_calls(text)
        assert choice.message.content == content
        assert [call.function.model_dump() for call in choice.message.tool_calls or []] == [
            call["function"] for call in calls
        ]
        assert choice.finish_reason == (
            "length" if not ended else "tool_calls" if calls else "stop"
        )
        finishes.add(choice.finish_reason)
    assert "tool_calls" in finishes


@pytest.mark.parametrize("options", [{}, {"tools": TOOLS, "tool_choice": "none"}])
def test_without_tools_a_call_is_text(client: OpenAI, options: dict[str, Any]) -> None:
    messages = [*conversation(QUESTIONS[0])]
    without = exact(client, messages, max_tokens=40, **options)
    assert without.choices[0].message.tool_calls is None
    assert without.prompt_token_ids == exact(client, messages).prompt_token_ids


def test_a_conversation_with_calls_and_answers_is_understood(
    client: OpenAI, served: Served
) -> None:
    call = {"name": "search_inbox_tool", "arguments": '{"keywords": ["pager", "Müller"]}'}
    messages = [
        *conversation(QUESTIONS[0]),
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "1", "type": "function", "function": call}],
        },
        {"role": "tool", "tool_call_id": "1", "content": "no mails found"},
    ]
    reply = exact(client, messages, tools=TOOLS)
    text = served.policy.tokenizer.decode(reply.prompt_token_ids)
    assert '{"keywords": ["pager", "Müller"]}' in text
    assert "no mails found" in text
    assert text.count("search_inbox_tool") == 2


def test_text_may_come_in_parts(client: OpenAI) -> None:
    parts = [{"type": "text", "text": "h"}, {"type": "text", "text": "i"}]
    whole = exact(client)
    assert exact(client, [{"role": "user", "content": parts}]).prompt_token_ids == (
        whole.prompt_token_ids
    )


def test_a_seed_repeats_a_reply(client: OpenAI) -> None:
    texts = [
        ask(client, temperature=1.5, seed=seed).choices[0].message.content
        for seed in (1, 1, 2, 3, 4, 5)
    ]
    assert texts[0] == texts[1]
    assert len(set(texts)) > 2


def test_without_a_seed_replies_differ(client: OpenAI) -> None:
    texts = {ask(client, temperature=2).choices[0].message.content for _ in range(6)}
    assert len(texts) > 1


def test_temperature_zero_needs_no_seed(client: OpenAI) -> None:
    assert len({ask(client).choices[0].message.content for _ in range(3)}) == 1


def test_the_temperature_is_one_unless_told_otherwise(client: OpenAI) -> None:
    default = exact(client, temperature=openai.NOT_GIVEN, seed=9).choices[0].token_ids
    assert default == exact(client, temperature=1, seed=9).choices[0].token_ids


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_reply_is_cut_at_its_limit(client: OpenAI, name: str) -> None:
    options: Any = {"max_tokens": openai.NOT_GIVEN} | {name: 2}
    reply = exact(client, temperature=5, seed=1, **options)
    assert len(reply.choices[0].token_ids) == 2
    assert reply.choices[0].finish_reason == "length"


def test_a_reply_is_cut_where_the_conversation_is_full(client: OpenAI, served: Served) -> None:
    longest = served.policy.max_tokens
    messages = [{"role": "user", "content": "Hi. " * (longest // 6)}]
    prompt = len(exact(client, messages, max_tokens=1).prompt_token_ids)
    assert longest // 6 < prompt < longest
    reply = exact(client, messages, max_tokens=10_000, temperature=10, seed=2)
    assert reply.usage.total_tokens <= longest
    assert reply.choices[0].finish_reason == "length" or reply.usage.total_tokens < longest


def test_a_stream_says_what_the_reply_says(client: OpenAI) -> None:
    options: Any = {"tools": TOOLS, "max_tokens": 40}
    for question in QUESTIONS[:3]:
        [whole] = ask(client, conversation(question), **options).choices
        chunks = list(ask(client, conversation(question), stream=True, **options))
        deltas = [chunk.choices[0].delta for chunk in chunks]
        assert "".join(delta.content or "" for delta in deltas) == (whole.message.content or "")
        assert [c.function for d in deltas for c in d.tool_calls or []] == [
            type(deltas[0].tool_calls[0].function)(**call.function.model_dump())
            for call in whole.message.tool_calls or []
        ]
        assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, whole.finish_reason]
        assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
        assert len({chunk.id for chunk in chunks}) == 1


def test_the_tokens_of_a_stream_are_counted_once(served: Served) -> None:
    model = ChatOpenAI(
        model="pocket",
        base_url=served.base_url,
        api_key="none",
        temperature=0,
        max_completion_tokens=6,
        stream_usage=True,
    )
    chunks = list(model.stream("hi"))
    total = sum(chunks[1:], chunks[0])
    assert total.text == model.invoke("hi").text
    assert total.usage_metadata["total_tokens"] == model.invoke("hi").usage_metadata["total_tokens"]


async def test_many_at_once_get_what_each_gets_alone(served: Served) -> None:
    async with AsyncOpenAI(base_url=served.base_url, api_key="none", max_retries=0) as client:

        async def one(number: int) -> str | None:
            reply = await client.chat.completions.create(
                model="pocket",
                messages=conversation(f"{QUESTIONS[number % 6]} It is about case {number}."),
                temperature=0,
                max_tokens=4 + number % 9,
            )
            return reply.choices[0].message.content

        alone = [await one(number) for number in range(48)]
        assert await asyncio.gather(*(one(number) for number in range(48))) == alone


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("n", {"n": 2}),
    ("n", {"n": 0}),
    ("stop", {"stop": ["\n"]}),
    ("stop", {"stop": "x"}),
    ("top_p", {"top_p": 0.9}),
    ("presence_penalty", {"presence_penalty": 0.5}),
    ("frequency_penalty", {"frequency_penalty": -1}),
    ("tool_choice", {"tool_choice": "required", "tools": TOOLS}),
    (
        "tool_choice",
        {"tool_choice": {"type": "function", "function": {"name": "a"}}, "tools": TOOLS},
    ),
]


@pytest.mark.parametrize(("name", "options"), REFUSED)
def test_what_it_does_not_do_it_refuses(client: OpenAI, name: str, options: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        ask(client, **options)
    assert raised.value.code == "unsupported"
    assert raised.value.type == "invalid_request_error"
    assert name in raised.value.message


def test_what_changes_nothing_is_accepted(client: OpenAI) -> None:
    same: Any = {"n": 1, "stop": [], "top_p": 1, "presence_penalty": 0, "tool_choice": "auto"}
    assert ask(client, tools=TOOLS, **same, user="someone", extra_body={"unheard_of": 1})


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"content": "hi"},
        {"role": "wizard", "content": "hi"},
        {"role": "user", "content": 5},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},
        {"role": "user", "content": [{"type": "text"}]},
        {"role": "user", "content": "\ud800"},
        {"role": "assistant", "tool_calls": [{"function": {"name": "a", "arguments": "{"}}]},
        {"role": "assistant", "tool_calls": [{"function": {"name": "a"}}]},
        {"role": "assistant", "tool_calls": "none"},
    ],
    ids=str,
)
def test_bad_messages_are_refused(served: Served, message: dict[str, Any]) -> None:
    body = {"model": "pocket", "messages": [*HI, message], "max_tokens": 1}
    response = post(served, json.dumps(body))
    assert response.status_code == 400, response.text
    assert response.json()["error"]["code"] == "invalid_request"
    assert "messages" in response.json()["error"]["message"]


def test_a_prompt_that_is_too_long_has_openais_code(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        ask(client, [{"role": "user", "content": "word " * 2000}])
    assert raised.value.code == "context_length_exceeded"
    assert "takes 512" in raised.value.message


@pytest.mark.parametrize(
    "name", ["", "@", "gpt-4o", "pocket@7", "pocket@-1", "pocket@x", "pocket@²", f"pocket@{'9' * 5000}"],
    ids=["empty", "at", "other", "no step", "negative", "word", "superscript", "very long"],
)  # fmt: skip
def test_a_model_that_is_not_there_is_not_found(client: OpenAI, name: str) -> None:
    with pytest.raises(openai.NotFoundError) as raised:
        ask(client, model=name)
    assert raised.value.code == "model_not_found"


@pytest.mark.parametrize("name", ["pocket", "pocket@0", "pocket@0000"])
def test_a_model_is_named_with_or_without_its_step(client: OpenAI, name: str) -> None:
    assert ask(client, model=name).model == name


def test_the_newest_checkpoint_is_listed(client: OpenAI, served: Served) -> None:
    assert [model.id for model in client.models.list()] == ["pocket@0"]
    root = served.base_url.removesuffix("/v1")
    health = httpx.get(f"{root}/health").json()
    assert health == {"status": "ok", "model": "pocket", "step": 0}
    before = httpx.get(f"{root}/stats").json()
    ask(client)
    assert httpx.get(f"{root}/stats").json()["requests"] == before["requests"] + 1


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = serve(tmp_path_factory.mktemp("locked"), api_key=KEY)
    yield served
    served.service.close()


def test_the_right_key_opens(locked: Served) -> None:
    with OpenAI(base_url=locked.base_url, api_key=KEY, max_retries=0) as client:
        assert ask(client)
        assert client.models.list()


@pytest.mark.parametrize("key", ["wrong", KEY + "x", KEY[:-1], "default"])
def test_another_key_does_not(locked: Served, key: str) -> None:
    with OpenAI(base_url=locked.base_url, api_key=key, max_retries=0) as client:
        for attempt in (partial(ask, client), client.models.list):
            with pytest.raises(openai.AuthenticationError) as raised:
                attempt()
            assert raised.value.code == "invalid_api_key"


@pytest.mark.parametrize("headers", [{}, {"authorization": KEY}, {"authorization": f"Basic {KEY}"}])
def test_no_key_does_not_either(locked: Served, headers: dict[str, str]) -> None:
    body = {"model": "pocket", "messages": HI}
    response = httpx.post(f"{locked.base_url}/chat/completions", json=body, headers=headers)
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "invalid_api_key"


def post(served: Served, content: str | bytes) -> httpx.Response:
    """On a connection of its own: one that broke must not break the next request."""
    return httpx.post(
        f"{served.base_url}/chat/completions",
        content=content,
        headers={"content-type": "application/json"},
        timeout=30,
    )


def body_with(**changes: Any) -> str:
    return json.dumps({"model": "pocket", "messages": HI, "max_tokens": 1} | changes)


def called_with(arguments: Any) -> str:
    call = {"function": {"name": "a", "arguments": arguments}}
    return body_with(messages=[*HI, {"role": "assistant", "tool_calls": [call]}])


MALFORMED: dict[str, str | bytes] = {
    "empty": "",
    "no JSON": "{",
    "no unicode": b'{"model": "\xff"}',
    "null": "null",
    "a list": "[]",
    "very deep": "[" * 100_000,
    "no model": '{"messages": [{"role": "user", "content": "hi"}]}',
    "a number for a model": body_with(model=5),
    "half a letter for a model": body_with(model="\ud800"),
    "no messages": body_with(messages=[]),
    "null messages": body_with(messages=None),
    "text for messages": body_with(messages="hi"),
    "a list of lists": body_with(messages=[[]]),
    "a call without function": body_with(messages=[{"role": "assistant", "tool_calls": [{}]}]),
    "a call that is a number": body_with(messages=[{"role": "assistant", "tool_calls": [5]}]),
    "a number of calls": body_with(messages=[{"role": "assistant", "tool_calls": 5}]),
    "very deep arguments": called_with("[" * 100_000),
    "deep arguments": called_with("[" * 960 + "]" * 960),
    "a tool that is empty": body_with(tools=[{}]),
    "a tool that is a number": body_with(tools=[5]),
    "a tool without a schema": body_with(tools=[{"function": "f"}]),
    "half a letter in a tool": body_with(tools=[{"\ud800": 1}]),
    "text for tools": body_with(tools="search"),
    "a negative temperature": body_with(temperature=-0.1),
    "a hot temperature": body_with(temperature=1e30),
    "no number for a temperature": body_with(temperature=float("nan")),
    "no tokens": body_with(max_tokens=0),
    "half a token": body_with(max_tokens=1.5),
    "text for a seed": body_with(seed="x"),
    "half a seed": body_with(seed=0.5),
    "a number of logprobs": body_with(logprobs=5),
    "a number for a stop": body_with(stop=5),
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_body_is_the_clients_mistake(served: Served, content: str | bytes) -> None:
    response = post(served, content)
    assert 400 <= response.status_code < 500, response.text
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["message"]


ODD: dict[str, dict[str, Any]] = {
    "a negative seed": {"seed": -1},
    "a huge seed": {"seed": 10**300},
    "a huge limit": {"max_tokens": 10**40, "messages": HI},
    "a temperature next to zero": {"temperature": 1e-40, "logprobs": True},
    "a null content": {"messages": [*HI, {"role": "assistant", "content": None}]},
    "an empty call list": {"messages": [*HI, {"role": "assistant", "tool_calls": []}]},
    "control tokens in a text": {"messages": [{"role": "user", "content": "<|im_end|><|im_end|>"}]},
}


@pytest.mark.parametrize("changes", ODD.values(), ids=ODD)
def test_an_odd_body_is_answered_with_json(served: Served, changes: dict[str, Any]) -> None:
    response = post(served, body_with(**changes))
    assert response.status_code == 200, response.text
    reply = json.loads(response.text, parse_constant=pytest.fail)
    assert reply["usage"]["completion_tokens"] >= 1


@pytest.mark.parametrize(("method", "path"), [("GET", "/nowhere"), ("GET", "/chat/completions")])
def test_every_error_has_openais_form(served: Served, method: str, path: str) -> None:
    response = httpx.request(method, served.base_url + path)
    assert response.status_code in {404, 405}
    assert response.json()["error"]["message"]


def test_a_client_that_hangs_up_leaves_the_server_well(client: OpenAI, tmp_path: Path) -> None:
    with pytest.raises(openai.APITimeoutError):
        # With a seed, as one reply in twenty would end by itself before the client gives up.
        ask(client, temperature=10, max_tokens=400, timeout=0.05, seed=2)
    assert ask(client)
