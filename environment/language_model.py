"""An environment's interface to hosted language models, which ``agent.hosted`` implements."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, Field

from environment.base import StrictModel, UserError

Form = TypeVar("Form", bound=BaseModel)
Message = dict[str, Any]


class LlmConfig(StrictModel):
    """A language model that is prompted, not trained."""

    model: str = Field("openai/o4-mini", description="Any LiteLLM name.")
    api_base: str | None = Field(
        None, description="An OpenAI-compatible server to use instead of the provider's."
    )
    timeout_s: float = Field(120, gt=0, description="Timeout per request.")
    concurrency: int = Field(16, ge=1, description="Concurrent requests.")
    max_cost_usd: float | None = Field(None, gt=0, description="Budget per run.")
    usd_per_million_in: float | None = Field(
        None, ge=0, description="Price of prompt tokens, if LiteLLM does not know it."
    )
    usd_per_million_out: float | None = Field(
        None, ge=0, description="Price of completion tokens, if LiteLLM does not know it."
    )


class LlmUnavailable(UserError):
    """The model cannot be used at all; the message says what to configure."""


class LlmFailed(UserError):
    """A request got no usable answer; the message says why and contains no secret."""


class LlmBudgetSpent(UserError):
    """The budget for hosted models is spent."""


@dataclass(slots=True)
class LlmUsage:
    """Totals so far. ``cached`` counts answers that needed no request."""

    requests: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0


class StructuredModel(Protocol):
    """A language model with structured output; safe to share between asyncio tasks."""

    @property
    def config(self) -> LlmConfig: ...

    @property
    def usage(self) -> LlmUsage: ...

    @property
    def priced(self) -> bool:
        """Whether the price is known; if not, ``usage.cost_usd`` is meaningless."""

    async def ask(
        self,
        messages: list[Message],
        form: type[Form],
        check: Callable[[Form], None] | None = None,
        temperature: float | None = None,
    ) -> Form:
        """An answer, parsed as ``form``.

        Args:
            messages: in OpenAI's format.
            check: raises ValueError on an unacceptable answer, with a message for the model.
            temperature: None for the model's default.

        Raises:
            LlmFailed: the model is unreachable, or twice gave no usable answer.
            LlmBudgetSpent: the budget is spent.
        """


class WritingReport(StrictModel):
    """Statistics of a writing run. Each of ``drafts`` was kept, or left out for a reason."""

    model: str
    batches: int
    batches_failed: int = Field(description="Without a usable reply.")
    drafts: int
    kept: int
    left_out: dict[str, int]
    requests: int
    cached: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None = Field(description="None if the price is unknown.")


def usage_of(model: StructuredModel) -> dict[str, Any]:
    """The model, usage and cost fields of a ``WritingReport``."""
    cost = round(model.usage.cost_usd, 6) if model.priced else None
    return asdict(model.usage) | {"model": model.config.model, "cost_usd": cost}


def as_data(value: object) -> str:
    """JSON to quote in a prompt. Lone surrogates, invalid in UTF-8, become ``?``."""
    return json.dumps(value, ensure_ascii=False).encode(errors="replace").decode()
