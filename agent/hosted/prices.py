"""What a hosted model's tokens cost: the configured prices, or else LiteLLM's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.hosted.providers import has_list_price
from environment.language_model import LlmConfig


def is_priced(config: LlmConfig) -> bool:
    """Whether costs are known beforehand. LiteLLM's are the provider's, not those of ``api_base``."""
    return _configured(config) is not None or (not config.api_base and has_list_price(config.model))


def cost_usd(config: LlmConfig, usage: Mapping[str, Any]) -> float | None:
    """Cost of a reply in US dollars, from its ``usage`` in OpenAI's form; None if unknown."""
    prices = _configured(config)
    if prices is None:
        cost = usage.get("cost")  # as reported by LiteLLM, and by OpenRouter
        return float(cost) if isinstance(cost, int | float) else None
    prompt, completion = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    return (prompt * prices[0] + completion * prices[1]) / 1e6


def _configured(config: LlmConfig) -> tuple[float, float] | None:
    """US dollars per million prompt and completion tokens."""
    per_in, per_out = config.usd_per_million_in, config.usd_per_million_out
    return None if per_in is None or per_out is None else (per_in, per_out)
