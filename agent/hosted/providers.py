"""What LiteLLM knows about providers: their names, keys and prices."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

import openai


@cache
def litellm() -> Any:
    """LiteLLM, imported on first use: it takes seconds to import."""
    import litellm

    litellm.suppress_debug_info = True  # or it prints advice to its developers on every error
    logging.getLogger("LiteLLM").setLevel(logging.WARNING)  # or two lines per request
    return litellm


def provider_of(model: str) -> str | None:
    """The provider LiteLLM would send this model's requests to, if any."""
    try:
        return str(litellm().get_llm_provider(model)[1])
    except openai.BadRequestError:
        return None


def provider_fault(model: str) -> str:
    """Why LiteLLM cannot reach this model: no known provider, or no key. Empty if it can."""
    provider = provider_of(model)
    if provider is None:
        return (
            f"LiteLLM knows no provider for the model {model}: write it as provider/name, such as "
            "openai/o3, or name its server as api_base"
        )
    environment = litellm().validate_environment(model)
    if environment["keys_in_environment"]:
        return ""
    # Gemini's are two names of one key.
    keys = (" or " if provider == "gemini" else " and ").join(environment["missing_keys"])
    return (
        f"the model {model} needs {keys} in the environment; or name a server of your own as "
        "api_base"
    )


def has_list_price(model: str) -> bool:
    """Whether LiteLLM knows what the provider charges."""
    try:
        name, provider, *_ = litellm().get_llm_provider(model)
    except openai.BadRequestError:
        return False
    costs = litellm().model_cost
    known = costs.get(f"{provider}/{name}") or costs.get(name) or {}
    return "input_cost_per_token" in known
