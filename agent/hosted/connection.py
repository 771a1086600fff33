"""Connections to hosted models: address, key, retries and cost accounting."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import httpx
import openai

from agent.hosted.ledger import Ledger, cost_usd, is_priced
from agent.hosted.providers import LiteLlmTransport, provider_fault
from agent.hosted.retries import retrying
from environment.language_model import LlmConfig, LlmUnavailable

Reply = TypeVar("Reply")
KEY = "OPENAI_API_KEY"
_NOWHERE = "http://litellm.invalid/v1"  # a placeholder: LiteLlmTransport sends nothing there
# LiteLLM's prefixes for OpenAI-compatible servers, whose own model names lack them.
_PREFIX = re.compile(r"^(openai|hosted_vllm|litellm_proxy)/")


def check_llm(config: LlmConfig, section: str = "", alternative: str = "") -> None:
    """Check what can be checked without a request.

    Args:
        section: configuration section for the message.
        alternative: what works without this model, for the message.

    Raises:
        LlmUnavailable: the provider is unknown, its key is not set, or there is a budget but no
            known price.
    """
    fault = "" if config.api_base else provider_fault(config.model)
    if not fault and config.max_cost_usd is not None and not is_priced(config):
        fault = (
            f"max_cost_usd is set, but the price of {config.model} is unknown: set "
            "usd_per_million_in and usd_per_million_out"
        )
    if fault:
        fault = f"{section}: {fault}" if section else fault
        raise LlmUnavailable(f"{fault} ({alternative})" if alternative else fault)


class Connection:
    """Lets an OpenAI client use a hosted model of any provider.

    Attributes:
        base_url, name, api_key: settings of the client, whose own retries must be off.
        transport: the client's HTTP transport; None for the default.

    Args:
        ledger: may be shared with other models.
        key: environment variable with the key for ``api_base``; providers have their own.
        attempts: maximum per request.
    """

    def __init__(
        self, config: LlmConfig, ledger: Ledger, *, key: str = KEY, attempts: int = 4
    ) -> None:
        self.config, self.ledger = config, ledger
        self.api_key = os.environ.get(key) or "none"
        self.base_url, self.name = _NOWHERE, config.model
        self.transport: httpx.AsyncBaseTransport | None = None
        if config.api_base:
            self.base_url, self.name = config.api_base, _PREFIX.sub("", config.model)
        else:
            self.transport = LiteLlmTransport()
        self._slots = asyncio.Semaphore(config.concurrency)
        self._attempts = attempts

    async def run(self, request: Callable[[], Awaitable[Reply]]) -> Reply:
        """Run a request, which must call ``charge``, with retries after transient failures.

        Raises:
            openai.OpenAIError: it failed permanently.
            LlmBudgetSpent: the ledger's limit is reached.
        """
        return await retrying(self.config.model, self._attempts)(self._once, request)

    async def _once(self, request: Callable[[], Awaitable[Reply]]) -> Reply:
        async with self._slots:
            self.ledger.check(self.config.model)
            try:
                # For the whole reply: the client's own timeout is per read.
                async with asyncio.timeout(self.config.timeout_s):
                    return await request()
            except TimeoutError as error:
                raise openai.APITimeoutError(httpx.Request("POST", self.base_url)) from error

    def charge(self, usage: Mapping[str, Any] | None) -> None:
        """Account for a reply with this ``usage``, in OpenAI's format."""
        usage = usage or {}
        self.ledger.charge(usage, cost_usd(self.config, usage))
