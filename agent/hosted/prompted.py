"""Hosted models as agents: prompted, not trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage

from agent.hosted.connection import Connection
from agent.model import ChatModel


class PromptedModel(ChatModel):
    """A hosted model with an environment's tools.

    Args:
        temperature: None for the model's default.
        max_tokens: per reply; None for the model's default.
    """

    def __init__(
        self,
        connection: Connection,
        tools: Sequence[dict[str, Any]],
        temperature: float | None = None,
        max_tokens: int | None = None,
    ) -> None:
        self._connection = connection
        super().__init__(
            base_url=connection.base_url,
            name=connection.name,
            api_key=connection.api_key,
            tools=tools,
            temperature=temperature,
            max_tokens=max_tokens,
            timeout_s=connection.config.timeout_s,
            connections=connection.config.concurrency,
            capture_tokens=False,
            retries=0,
            transport=connection.transport,
        )

    async def reply(self, messages: LanguageModelInput, seed: int | None = None) -> AIMessage:
        """See ``ChatModel.reply``; ignores the seed, which some providers reject.

        Raises:
            LlmBudgetSpent: the budget is spent.
        """
        return await self._connection.run(lambda: self._reply(messages))

    async def _reply(self, messages: LanguageModelInput) -> AIMessage:
        reply = await super().reply(messages)
        self._connection.charge(reply.response_metadata.get("token_usage"))
        return reply
