from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from agent.capture import recording, recording_client
from tests.fakes.chat_server import ChatServer, Script, fails, late, says, sends

HI = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with recording_client(timeout_s=10, connections=8) as client:
        yield client


async def ask(client: httpx.AsyncClient, server: ChatServer, text: str = "hi") -> httpx.Response:
    messages = [{"role": "user", "content": text}]
    return await client.post(
        f"{server.base_url}/chat/completions", json=HI | {"messages": messages}
    )


def echo(request: dict[str, Any]) -> Any:
    return says(request["messages"][0]["content"])(request)


def said(bodies: list[dict[str, Any]]) -> list[str]:
    return [body["choices"][0]["message"]["content"] for body in bodies]


async def test_replies_are_recorded_whole_and_in_order(client: httpx.AsyncClient) -> None:
    with ChatServer(echo) as server, recording() as bodies:
        replies = [await ask(client, server, text) for text in "abc"]
    assert bodies == [json.loads(reply.text) for reply in replies]
    assert said(bodies) == ["a", "b", "c"]


async def test_nothing_is_recorded_outside(client: httpx.AsyncClient) -> None:
    with ChatServer(echo) as server:
        await ask(client, server, "before")
        with recording() as bodies:
            await ask(client, server, "inside")
        await ask(client, server, "after")
    assert said(bodies) == ["inside"]


async def test_an_inner_recording_keeps_its_replies_to_itself(client: httpx.AsyncClient) -> None:
    with ChatServer(echo) as server, recording() as outer:
        await ask(client, server, "one")
        with recording() as inner:
            await ask(client, server, "two")
        await ask(client, server, "three")
    assert (said(outer), said(inner)) == (["one", "three"], ["two"])


async def test_a_recording_that_fails_ends_as_well(client: httpx.AsyncClient) -> None:
    with ChatServer(echo) as server:
        with pytest.raises(ZeroDivisionError), recording() as bodies:
            raise ZeroDivisionError
        await ask(client, server)
    assert bodies == []


async def test_recordings_side_by_side_do_not_mix(client: httpx.AsyncClient) -> None:
    """All requests are on their way before the first is answered."""
    gate, seen = threading.Event(), []

    def when_all_asked(request: dict[str, Any]) -> Any:
        seen.append(request)
        if len(seen) == 8:
            gate.set()
        return late(echo, gate)(request)

    async def one(server: ChatServer, text: str) -> list[str]:
        with recording() as bodies:
            await ask(client, server, text)
            await asyncio.create_task(ask(client, server, text + "!"))
        return said(bodies)

    with ChatServer(when_all_asked) as server:
        recorded = await asyncio.gather(*(one(server, text) for text in "abcdefgh"))
    assert recorded == [[text, text + "!"] for text in "abcdefgh"]


@pytest.mark.parametrize(
    "script",
    [fails(500), fails(400, "context_length_exceeded"), sends("<html>", "text/html")],
    ids=["server error", "refusal", "no JSON"],
)
async def test_what_is_no_reply_is_not_recorded(client: httpx.AsyncClient, script: Script) -> None:
    with ChatServer(script) as server, recording() as bodies:
        await ask(client, server)
    assert bodies == []
