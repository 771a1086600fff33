"""Hosted models as agents: prompted, not trained, and paid for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import litellm
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage

from agent.failures import BudgetSpent
from agent.hosted.litellm_transport import BASE_URL, LiteLlmTransport
from agent.hosted.llm import LlmUnavailable, check_provider
from agent.model import ChatModel

# With the server's own waiting times between them; a comparison must outlast a rate limit.
_RETRIES = 6


@dataclass(slots=True)
class Spending:
    """What prompted models have cost together, in US dollars."""

    limit_usd: float | None = None
    usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a prompted model is, and what its tokens cost.

    Args:
        model: a LiteLLM name; with ``api_base`` the name that server knows, after an optional
            ``openai/``.
        usd_per_million: of prompt and of completion tokens; None leaves it to LiteLLM.
    """

    model: str
    api_base: str | None
    api_key_env: str
    usd_per_million: tuple[float, float] | None


def check_endpoint(endpoint: Endpoint, *, priced: bool) -> None:
    """
    Args:
        priced: what it costs must be known.

    Raises:
        LlmUnavailable: LiteLLM does not know the provider, a key is missing, or the price.
    """
    known = False
    if not endpoint.api_base:
        check_provider(endpoint.model)
        name, provider, *_ = litellm.get_llm_provider(endpoint.model)
        known = any(key in litellm.model_cost for key in (f"{provider}/{name}", name))
    if priced and not known and endpoint.usd_per_million is None:
        raise LlmUnavailable(
            f"max_cost_usd is set, but nobody knows what {endpoint.model} costs: set "
            "usd_per_million_in and usd_per_million_out"
        )


class PromptedModel(ChatModel):
    """A model at an OpenAI-compatible endpoint, or any provider's by its LiteLLM name."""

    def __init__(
        self,
        endpoint: Endpoint,
        spending: Spending,
        *,
        tools: Sequence[dict[str, Any]],
        temperature: float | None,
        max_tokens: int | None,
        timeout_s: float,
        connections: int,
    ) -> None:
        direct = endpoint.api_base is not None
        super().__init__(
            base_url=endpoint.api_base or BASE_URL,
            name=endpoint.model.removeprefix("openai/") if direct else endpoint.model,
            api_key=os.environ.get(endpoint.api_key_env) or "none",
            tools=tools,
            temperature=temperature,
            max_tokens=max_tokens,
            timeout_s=timeout_s,
            connections=connections,
            capture_tokens=False,
            retries=_RETRIES,
            transport=None if direct else LiteLlmTransport(),
        )
        self._endpoint, self._spending = endpoint, spending

    async def reply(self, messages: LanguageModelInput, seed: int | None = None) -> AIMessage:
        """
        Raises:
            BudgetSpent: looked at before each request; those under way may go over by their cost.
        """
        spending = self._spending
        if spending.limit_usd is not None and spending.usd >= spending.limit_usd:
            raise BudgetSpent(f"the prompted models have cost {spending.limit_usd:g} USD")
        reply = await super().reply(messages)  # not every provider takes a seed
        used = reply.response_metadata.get("token_usage") or {}
        spending.usd += self.cost_usd(used) or 0.0
        return reply

    def cost_usd(self, usage: dict[str, Any]) -> float | None:
        """What a reply cost in US dollars; None if nobody knows."""
        if self._endpoint.usd_per_million is None:
            cost = usage.get("cost")
            return None if cost is None else float(cost)
        per_in, per_out = self._endpoint.usd_per_million
        given = usage.get("prompt_tokens") or 0
        written = usage.get("completion_tokens") or 0
        return (given * per_in + written * per_out) / 1e6
