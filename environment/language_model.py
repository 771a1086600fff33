"""What an environment asks of a hosted language model: its settings, its answers and its failures.

The models themselves are in ``agent.hosted``.
"""

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
    """The model cannot be used at all; the text says what to set."""


class LlmFailed(UserError):
    """No usable answer to one request; the text says why and holds no secret."""


class LlmBudgetSpent(UserError):
    """The models have cost as much as they may."""


@dataclass(slots=True)
class LlmUsage:
    """Totals so far. ``cached`` counts answers that took no request; ``cost_usd`` is in US dollars."""

    requests: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0


class StructuredModel(Protocol):
    """A language model that answers in a given form; safe to share between tasks."""

    @property
    def config(self) -> LlmConfig: ...

    @property
    def usage(self) -> LlmUsage: ...

    @property
    def priced(self) -> bool:
        """Whether its price is known; if not, ``usage.cost_usd`` means nothing."""

    async def ask(
        self,
        messages: list[Message],
        form: type[Form],
        check: Callable[[Form], None] | None = None,
        temperature: float | None = None,
    ) -> Form:
        """An answer of the given form.

        Args:
            messages: in OpenAI's form.
            check: raises ValueError, with a text for the model, on an unacceptable answer.
            temperature: None leaves it to the model.

        Raises:
            LlmFailed: the model could not be reached, or twice gave no usable answer.
            LlmBudgetSpent: the budget is used up.
        """


class WritingReport(StrictModel):
    """How a model's writing went. ``drafts`` are all it wrote: kept, or left out by reason."""

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
    """The fields of a report that say which model was used, how much, and at what cost."""
    cost = round(model.usage.cost_usd, 6) if model.priced else None
    return asdict(model.usage) | {"model": model.config.model, "cost_usd": cost}


def as_data(value: object) -> str:
    """JSON to quote in a prompt. A lone surrogate, which UTF-8 cannot hold, becomes ``?``."""
    return json.dumps(value, ensure_ascii=False).encode(errors="replace").decode()
