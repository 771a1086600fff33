"""A chat model on a server of the tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from agent.model import ChatModel


def chat_model(server: Any, tools: Sequence[Any], **changes: Any) -> ChatModel:
    settings: dict[str, Any] = {
        "name": "scripted",
        "api_key": "none",
        "temperature": 1.0,
        "max_tokens": 64,
        "timeout_s": 30.0,
        "connections": 1,
        "capture_tokens": True,
    }
    return ChatModel(base_url=server.base_url, tools=tools, **settings | changes)


@asynccontextmanager
async def chat_model_on(
    server: Any, tools: Sequence[Any], **changes: Any
) -> AsyncIterator[ChatModel]:
    """Closed at the end of the block."""
    model = chat_model(server, tools, **changes)
    try:
        yield model
    finally:
        await model.close()
