"""A hosted language model, as far as an environment knows it: one that writes its scenarios."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, Field

from environment.base import StrictModel, UserError

Form = TypeVar("Form", bound=BaseModel)
Message = dict[str, Any]


class LlmConfig(StrictModel):
    """A language model that is asked, not trained."""

    model: str = Field("openai/o4-mini", description="Any LiteLLM name.")
    api_base: str | None = Field(
        None, description="An OpenAI-compatible server to ask instead of the provider's."
    )
    timeout_s: float = Field(120, gt=0, description="Of one request.")
    concurrency: int = Field(16, ge=1, description="Requests at once.")
    max_cost_usd: float | None = Field(
        None, gt=0, description="Spent by one run at most; then it stops."
    )
    usd_per_million_in: float | None = Field(
        None, ge=0, description="Price of prompt tokens, where LiteLLM knows none."
    )
    usd_per_million_out: float | None = Field(
        None, ge=0, description="Price of completion tokens, where LiteLLM knows none."
    )


class LlmUnavailable(UserError):
    """The model cannot be asked at all; the text says what to set."""


class LlmFailed(UserError):
    """No usable answer to one question; the text says why."""


class LlmBudgetSpent(RuntimeError):
    """The model has cost as much as it may."""


@dataclass(slots=True)
class LlmUsage:
    """Totals so far. ``cached`` answers were not asked for again."""

    requests: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0


class HostedModel(Protocol):
    """One model, asked by many at once.

    Attributes:
        usage: requests and their cost so far.
        priced: whether its price is known.
    """

    config: LlmConfig
    usage: LlmUsage
    priced: bool

    async def ask(
        self,
        messages: list[Message],
        form: type[Form],
        check: Callable[[Form], None] | None = None,
        temperature: float | None = None,
    ) -> Form:
        """A reply of the given form.

        Args:
            check: raises ValueError, with a text for the model, on a reply that cannot be right.

        Raises:
            LlmFailed: it could not be reached, or gave no usable reply twice.
            LlmBudgetSpent: its budget is spent.
        """


def as_data(value: object) -> str:
    """JSON to quote in a prompt. Half of a surrogate pair, which UTF-8 cannot hold, becomes ``?``."""
    return json.dumps(value, ensure_ascii=False).encode(errors="replace").decode()
