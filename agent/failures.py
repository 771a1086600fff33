"""Classifies model server failures for statistics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import openai

from environment.language_model import LlmBudgetSpent

# OpenAI's, Anthropic's and Bedrock's; LiteLLM maps Google's to OpenAI's.
_REFUSALS = ("content_filter", "refusal", "guardrail_intervened")
BUDGET, REFUSED = "budget", "refused"
_KINDS: tuple[tuple[type[Exception], str], ...] = (
    (LlmBudgetSpent, BUDGET),
    (openai.RateLimitError, "rate_limit"),
    (openai.APITimeoutError, "timeout"),
    (openai.APIConnectionError, "connection"),
    (openai.AuthenticationError, "key_refused"),
    (openai.PermissionDeniedError, "key_refused"),
    (openai.NotFoundError, "no_such_model"),
    (openai.InternalServerError, "server_error"),
    (openai.APIStatusError, "bad_request"),
)


def failure_kind(error: openai.OpenAIError | LlmBudgetSpent) -> str:
    """One word for the failure of a request."""
    # Azure and OpenAI return an error if their filter blocks a request.
    filtered = any(code in str(error) for code in ("content_filter", "content_policy_violation"))
    if isinstance(error, openai.BadRequestError) and filtered:
        return REFUSED
    return next((kind for type_, kind in _KINDS if isinstance(error, type_)), "no_usable_reply")


def is_refusal(reply: Mapping[str, Any]) -> bool:
    """Whether a recorded reply is a refusal by the model or by a content filter."""
    choice = (reply.get("choices") or [{}])[0]
    message = choice.get("message") or {}
    return bool(message.get("refusal")) or choice.get("finish_reason") in _REFUSALS
