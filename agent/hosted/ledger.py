"""Prices of hosted models, and a ledger of their usage and cost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agent.hosted.providers import has_list_price
from environment.files import write_atomically
from environment.language_model import LlmBudgetSpent, LlmConfig, LlmUsage


def is_priced(config: LlmConfig) -> bool:
    """Whether the price is known. LiteLLM's list price does not apply to an ``api_base``."""
    return _configured(config) is not None or (not config.api_base and has_list_price(config.model))


def cost_usd(config: LlmConfig, usage: Mapping[str, Any]) -> float | None:
    """Cost of a reply in US dollars, from its ``usage`` in OpenAI's format; None if unknown."""
    prices = _configured(config)
    if prices is None:
        cost = usage.get("cost")  # reported by LiteLLM and OpenRouter
        return float(cost) if isinstance(cost, int | float) else None
    prompt, completion = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    return (prompt * prices[0] + completion * prices[1]) / 1e6


def _configured(config: LlmConfig) -> tuple[float, float] | None:
    per_in, per_out = config.usd_per_million_in, config.usd_per_million_out
    return None if per_in is None or per_out is None else (per_in, per_out)


class Ledger:
    """Usage and cost of models that share an optional budget of ``limit_usd`` US dollars."""

    def __init__(self, limit_usd: float | None = None) -> None:
        self.limit_usd, self.usage = limit_usd, LlmUsage()
        self._file: Path | None = None

    def keep(self, file: Path) -> None:
        """Load the totals from ``file`` and save them there from now on, so that the spending of a
        killed attempt counts."""
        self._file = file
        if file.exists():
            self.usage = LlmUsage(**json.loads(file.read_text(encoding="utf-8")))
            self.usage.cached = 0

    def check(self, model: str) -> None:
        """Call before each request; requests in flight may exceed the limit.

        Raises:
            LlmBudgetSpent: the limit is reached.
        """
        if self.limit_usd is not None and self.usage.cost_usd >= self.limit_usd:
            spent = f"{self.usage.cost_usd:.4f} USD; max_cost_usd is {self.limit_usd:g}"
            raise LlmBudgetSpent(f"no budget is left for {model}: spent {spent}")

    def charge(self, usage: Mapping[str, Any], cost: float | None) -> None:
        totals = self.usage
        totals.requests += 1
        totals.prompt_tokens += usage.get("prompt_tokens") or 0
        totals.completion_tokens += usage.get("completion_tokens") or 0
        totals.cost_usd += cost or 0.0
        if self._file:
            write_atomically(self._file, json.dumps(asdict(totals)))
