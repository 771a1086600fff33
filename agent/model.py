"""The agent's chat model: an endpoint, a model name and sampling settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx
import openai
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.messages.tool import invalid_tool_call
from langchain_core.runnables import Runnable
from langchain_openai import ChatOpenAI
from pydantic import SecretStr, ValidationError

from agent.capture import recording_client


class ChatModel:
    """A chat model on an OpenAI-compatible endpoint, with an environment's tools bound to it.

    Args:
        name: the model to request; may change between replies as the policy gets new weights.
        capture_tokens: request token ids and log-probabilities, which training needs; the server
            must support ``return_token_ids``.
        temperature: None for the server's default.
        max_tokens: per reply; None for the server's default.
        retries: after transient failures.
        transport: the HTTP transport; None for the network.
    """

    def __init__(
        self,
        *,
        base_url: str | None,
        name: str,
        api_key: str,
        tools: Sequence[dict[str, Any]],
        temperature: float | None,
        max_tokens: int | None,
        timeout_s: float,
        connections: int,
        capture_tokens: bool,
        retries: int = 2,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.name = name
        self._client: httpx.AsyncClient = recording_client(timeout_s, connections, transport)
        extra: dict[str, Any] = {}
        if capture_tokens:
            extra = {"logprobs": True, "extra_body": {"return_token_ids": True}}
        self._model = ChatOpenAI(
            model=name,
            base_url=base_url,
            api_key=SecretStr(api_key),
            temperature=temperature,
            max_completion_tokens=max_tokens,
            max_retries=retries,
            timeout=timeout_s,
            http_async_client=self._client,
            **extra,
        )
        # OpenAI rejects an empty list of tools.
        self._bound: Runnable[LanguageModelInput, AIMessage] = (
            self._model.bind(tools=list(tools)) if tools else self._model
        )

    async def reply(self, messages: LanguageModelInput, seed: int | None = None) -> AIMessage:
        """The next assistant message. Invalid calls (whose arguments are not an object) are returned
        as ``invalid_tool_calls``.

        Raises:
            openai.OpenAIError: the endpoint failed, refused or sent an invalid reply.
        """
        options: dict[str, Any] = {"model": self.name}
        if seed is not None:
            options["seed"] = seed
        try:
            return await self._bound.ainvoke(messages, **options)
        except openai.OpenAIError:
            raise
        except ValidationError as error:
            return AIMessage("", invalid_tool_calls=[invalid_tool_call(args=str(error))])
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            # LangChain raises these on invalid replies: no choices, an error with status 200.
            raise openai.OpenAIError(f"the endpoint sent no usable reply: {error!r}") from error

    async def close(self) -> None:
        await self._client.aclose()
