"""Names for what can go wrong at a model server, to count failures by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import openai


class BudgetSpent(openai.OpenAIError):
    """The models that cost money have cost as much as they may."""


# OpenAI's, Anthropic's and Bedrock's; LiteLLM turns Google's into the first.
_REFUSALS = ("content_filter", "refusal", "guardrail_intervened")
BUDGET, REFUSED = "budget", "refused"
_KINDS: tuple[tuple[type[openai.OpenAIError], str], ...] = (
    (BudgetSpent, BUDGET),
    (openai.RateLimitError, "rate_limit"),
    (openai.APITimeoutError, "timeout"),
    (openai.APIConnectionError, "connection"),
    (openai.AuthenticationError, "key_refused"),
    (openai.PermissionDeniedError, "key_refused"),
    (openai.NotFoundError, "no_such_model"),
    (openai.InternalServerError, "server_error"),
    (openai.APIStatusError, "bad_request"),
)


def failure_kind(error: openai.OpenAIError) -> str:
    """One word for an error of a model server."""
    # Azure and OpenAI answer a request that their filter stops with an error.
    filtered = any(code in str(error) for code in ("content_filter", "content_policy_violation"))
    if isinstance(error, openai.BadRequestError) and filtered:
        return REFUSED
    return next((kind for type_, kind in _KINDS if isinstance(error, type_)), "no_usable_reply")


def is_refusal(reply: Mapping[str, Any]) -> bool:
    """Whether a reply's recorded body says that the model, or a filter before it, refused."""
    choice = (reply.get("choices") or [{}])[0]
    message = choice.get("message") or {}
    return bool(message.get("refusal")) or choice.get("finish_reason") in _REFUSALS
