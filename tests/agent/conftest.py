from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from agent.model import ChatModel
from tests.agent.words import WordEnvironment
from tests.chat_model import chat_model

ModelOn = Callable[..., ChatModel]


@pytest.fixture
def words() -> WordEnvironment:
    return WordEnvironment()


@pytest.fixture
async def model_on(words: WordEnvironment) -> AsyncIterator[ModelOn]:
    """A chat model on a server, closed after the test."""
    async with AsyncExitStack() as opened:

        def model_on(server: Any, **changes: Any) -> ChatModel:
            usual = {"temperature": 0.7, "connections": 32, "tools": words.tool_schemas}
            model = chat_model(server, **usual | changes)
            opened.push_async_callback(model.close)
            return model

        yield model_on
