from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from agent.model import ChatModel
from tests.agent.words import WordEnvironment

ModelOn = Callable[..., ChatModel]


@pytest.fixture
def words() -> WordEnvironment:
    return WordEnvironment()


@pytest.fixture
async def model_on(words: WordEnvironment) -> AsyncIterator[ModelOn]:
    """A chat model on a server, closed after the test."""
    async with AsyncExitStack() as opened:

        def model_on(server: Any, **changes: Any) -> ChatModel:
            settings: dict[str, Any] = {
                "base_url": server.base_url,
                "name": "scripted",
                "api_key": "none",
                "tools": words.tool_schemas,
                "temperature": 0.7,
                "max_tokens": 64,
                "timeout_s": 30.0,
                "connections": 32,
                "capture_tokens": True,
            }
            model = ChatModel(**settings | changes)
            opened.push_async_callback(model.close)
            return model

        yield model_on
