"""Usage and cost of hosted models, within a budget."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from environment.language_model import LlmBudgetSpent, LlmUsage


class Ledger:
    """What models that share a budget have used and cost together.

    Args:
        limit_usd: US dollars; None is no limit.
    """

    def __init__(self, limit_usd: float | None = None) -> None:
        self.limit_usd, self.usage = limit_usd, LlmUsage()
        self._file: Path | None = None

    def keep(self, file: Path) -> None:
        """Resume from the totals in this file, if any, and save them there from now on, so that
        what a killed attempt has spent still counts."""
        self._file = file
        if file.exists():
            self.usage = LlmUsage(**json.loads(file.read_text(encoding="utf-8")))
            self.usage.cached = 0

    def check(self, model: str) -> None:
        """Call before each request; requests under way may exceed the limit by what they cost.

        Raises:
            LlmBudgetSpent: the limit is reached.
        """
        if self.limit_usd is not None and self.usage.cost_usd >= self.limit_usd:
            spent = f"{self.usage.cost_usd:.4f} USD; max_cost_usd is {self.limit_usd:g}"
            raise LlmBudgetSpent(f"no budget is left for {model}: spent {spent}")

    def charge(self, usage: Mapping[str, Any], cost_usd: float | None) -> None:
        """Count one request.

        Args:
            usage: the reply's, in OpenAI's form.
            cost_usd: None if unknown.
        """
        totals = self.usage
        totals.requests += 1
        totals.prompt_tokens += usage.get("prompt_tokens") or 0
        totals.completion_tokens += usage.get("completion_tokens") or 0
        totals.cost_usd += cost_usd or 0.0
        if self._file:
            write_atomically(self._file, json.dumps(asdict(totals)))


def write_atomically(path: Path, text: str) -> None:
    """Several writers at once are fine: the last one wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
        file.write(text)
    os.replace(file.name, path)
