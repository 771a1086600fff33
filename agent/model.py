"""The chat model an agent thinks with: an endpoint, a name and how to sample."""

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
        name: the model to ask for; may be changed between replies, as a policy gets new weights.
        capture_tokens: ask for token ids and log-probabilities; only servers that support
            ``return_token_ids`` accept it, and training needs it.
        temperature, max_tokens: None leaves them to the server; ``max_tokens`` is of one reply.
        retries: of a request that failed for a passing reason.
        transport: what carries the requests, instead of the network.
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
        # An empty list is no list of tools to OpenAI, but an error.
        self._bound: Runnable[LanguageModelInput, AIMessage] = (
            self._model.bind(tools=list(tools)) if tools else self._model
        )

    async def reply(self, messages: LanguageModelInput, seed: int | None = None) -> AIMessage:
        """The next assistant message. Calls that are no calls (their arguments are no object) come
        back as ``invalid_tool_calls``.

        Raises:
            openai.OpenAIError: the endpoint failed or refused, or answered with what is no reply.
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
            # What LangChain raises on a reply that is not one: no choices, an error in a 200.
            raise openai.OpenAIError(f"the endpoint sent no usable reply: {error!r}") from error

    async def close(self) -> None:
        await self._client.aclose()
