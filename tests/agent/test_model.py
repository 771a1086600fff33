from __future__ import annotations

import pytest

from agent.capture import recording
from tests.agent.conftest import ModelOn
from tests.agent.words import WordEnvironment
from tests.fakes.chat_server import ChatServer, says

HI = [("user", "hi")]


async def test_a_request_carries_the_settings(model_on: ModelOn, words: WordEnvironment) -> None:
    with ChatServer(says("hello")) as server:
        reply = await model_on(server, api_key="secret").reply(HI, seed=11)
    [request] = server.requests
    assert reply.text == "hello"
    assert request["model"] == "scripted"
    assert request["temperature"] == 0.7
    assert request["max_completion_tokens"] == 64
    assert request["seed"] == 11
    assert request["tools"] == words.tool_schemas
    assert server.headers[0]["authorization"] == "Bearer secret"


@pytest.mark.parametrize("capture", [True, False])
async def test_token_ids_are_asked_for_only_where_they_are_captured(
    model_on: ModelOn, capture: bool
) -> None:
    with ChatServer(says("hello")) as server, recording() as bodies:
        await model_on(server, capture_tokens=capture).reply(HI)
    assert ("return_token_ids" in server.requests[0]) is capture
    assert ("logprobs" in server.requests[0]) is capture
    assert ("prompt_token_ids" in bodies[0]) is capture


async def test_the_name_may_change_between_replies(model_on: ModelOn) -> None:
    with ChatServer(says("hello")) as server:
        model = model_on(server)
        await model.reply(HI)
        model.name = "scripted@2"
        await model.reply(HI)
    assert [request["model"] for request in server.requests] == ["scripted", "scripted@2"]
