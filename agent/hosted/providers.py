"""Access to every provider's models through LiteLLM: names, keys, prices and requests."""

from __future__ import annotations

import json
import logging
from functools import cache
from typing import Any

import httpx
import openai


@cache
def litellm() -> Any:
    """Import LiteLLM on first use, as that takes seconds."""
    import litellm

    litellm.suppress_debug_info = True  # do not print debugging advice on every error
    logging.getLogger("LiteLLM").setLevel(logging.WARNING)  # INFO logs two lines per request
    return litellm


def provider_of(model: str) -> str | None:
    """The model's provider, or None if LiteLLM does not know it."""
    try:
        return str(litellm().get_llm_provider(model)[1])
    except openai.BadRequestError:
        return None


def provider_fault(model: str) -> str:
    """Why LiteLLM cannot use this model (unknown provider or missing key), or an empty string."""
    provider = provider_of(model)
    if provider is None:
        return (
            f"LiteLLM knows no provider for the model {model}: write it as provider/name, such as "
            "openai/o3, or set api_base to its server"
        )
    environment = litellm().validate_environment(model)
    if environment["keys_in_environment"]:
        return ""
    # Gemini's are alternative names of one key.
    keys = (" or " if provider == "gemini" else " and ").join(environment["missing_keys"])
    return f"the model {model} needs {keys} in the environment; or set api_base to your own server"


def has_list_price(model: str) -> bool:
    """Whether LiteLLM knows the provider's price."""
    if provider_of(model) is None:
        return False
    name, provider, *_ = litellm().get_llm_provider(model)
    costs = litellm().model_cost
    return "input_cost_per_token" in (costs.get(f"{provider}/{name}") or costs.get(name) or {})


class LiteLlmTransport(httpx.AsyncBaseTransport):
    """An in-process HTTP transport that passes an OpenAI client's ``/chat/completions`` requests to
    LiteLLM, for every provider. Keys come from the environment."""

    def __init__(self) -> None:
        litellm()  # import now, not while requests are being timed

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(await request.aread())
        body.pop("stream", None)
        try:
            completion = await litellm().acompletion(
                **body,
                timeout=request.extensions.get("timeout", {}).get("read"),
                max_retries=0,  # Connection retries
                drop_params=True,  # drop what a provider does not support, such as a seed
            )
        except openai.APITimeoutError as error:
            raise httpx.ReadTimeout(str(error), request=request) from error
        except openai.APIConnectionError as error:
            raise httpx.ConnectError(str(error), request=request) from error
        except openai.APIError as error:
            return _error_response(error, request)
        return httpx.Response(200, json=_openai_body(completion), request=request)


def _openai_body(completion: Any) -> dict[str, Any]:
    # Without warnings about finish reasons that OpenAI lacks, such as Anthropic's refusal.
    body: dict[str, Any] = completion.model_dump(mode="json", warnings=False)
    for choice in body["choices"]:
        # LiteLLM has no field for a refusal.
        if refusal := (choice["message"].get("provider_specific_fields") or {}).get("refusal"):
            choice["message"]["refusal"] = refusal
    cost = completion._hidden_params.get("response_cost")
    if cost is not None and body.get("usage"):
        body["usage"]["cost"] = cost  # US dollars, as in OpenRouter's replies
    return body


def _error_response(error: openai.APIError, request: httpx.Request) -> httpx.Response:
    code: Any = error.code
    if isinstance(error, litellm().ContextWindowExceededError):
        code = "context_length_exceeded"
    elif isinstance(error, litellm().ContentPolicyViolationError):
        code = "content_policy_violation"
    # Here LiteLLM keeps the server's headers; error.response has none.
    headers = getattr(error, "litellm_response_headers", None) or {}
    return httpx.Response(
        int(getattr(error, "status_code", None) or 500),
        headers={n: headers[n] for n in ("retry-after", "retry-after-ms") if n in headers},
        json={"error": {"message": str(error), "type": type(error).__name__, "code": code}},
        request=request,
    )
