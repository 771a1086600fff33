"""Any provider's model behind OpenAI's dialect, in process.

An HTTP transport whose server is LiteLLM: any OpenAI client reaches every provider that LiteLLM
knows, with no proxy to start.
"""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai

from agent.hosted.providers import litellm

BASE_URL = "http://litellm.invalid/v1"  # clients want one; nothing is ever sent there


class LiteLlmTransport(httpx.AsyncBaseTransport):
    """Answers ``POST /chat/completions``. The key is the provider's own, from the environment."""

    def __init__(self) -> None:
        litellm()  # imported now, not while requests are being timed

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(await request.aread())
        body.pop("stream", None)
        try:
            completion = await litellm().acompletion(
                **body,
                timeout=request.extensions.get("timeout", {}).get("read"),
                max_retries=0,  # see Connection
                drop_params=True,  # those a provider does not support, such as a seed
            )
        except openai.APITimeoutError as error:
            raise httpx.ReadTimeout(str(error), request=request) from error
        except openai.APIConnectionError as error:
            raise httpx.ConnectError(str(error), request=request) from error
        except openai.APIError as error:
            return _error_response(error, request)
        return httpx.Response(200, json=_in_openais_form(completion), request=request)


def _in_openais_form(completion: Any) -> dict[str, Any]:
    # Without warnings of finish reasons that are not OpenAI's, such as Anthropic's refusal.
    body: dict[str, Any] = completion.model_dump(mode="json", warnings=False)
    for choice in body["choices"]:
        # LiteLLM has no field for a refusal.
        if refusal := (choice["message"].get("provider_specific_fields") or {}).get("refusal"):
            choice["message"]["refusal"] = refusal
    cost = completion._hidden_params.get("response_cost")
    if cost is not None and body.get("usage"):
        body["usage"]["cost"] = cost  # in US dollars, as from OpenRouter
    return body


def _error_response(error: openai.APIError, request: httpx.Request) -> httpx.Response:
    code: Any = error.code
    if isinstance(error, litellm().ContextWindowExceededError):
        code = "context_length_exceeded"
    elif isinstance(error, litellm().ContentPolicyViolationError):
        code = "content_policy_violation"
    # LiteLLM keeps the server's headers there; those of the error's response are empty.
    headers = getattr(error, "litellm_response_headers", None) or {}
    waits = {name: headers[name] for name in ("retry-after", "retry-after-ms") if name in headers}
    return httpx.Response(
        int(getattr(error, "status_code", None) or 500),
        headers=waits,
        json={"error": {"message": str(error), "type": type(error).__name__, "code": code}},
        request=request,
    )
