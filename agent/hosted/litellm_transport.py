"""Any provider's model behind OpenAI's dialect, in process.

An HTTP transport whose server is LiteLLM's function: whoever speaks to an OpenAI-compatible endpoint
speaks through it to every provider that LiteLLM knows, with the same retries and recording, and
without a proxy to start.
"""

from __future__ import annotations

import json
import logging
from typing import Any

import httpx
import litellm
import openai

# It prints advice for its developers on every error, and logs every request, twice.
litellm.suppress_debug_info = True
logging.getLogger("LiteLLM").setLevel(logging.WARNING)
# Says to the client that there is a server; nothing is ever sent there.
BASE_URL = "http://litellm.invalid/v1"


class LiteLlmTransport(httpx.AsyncBaseTransport):
    """Answers ``POST /chat/completions``. The key is the provider's own, from the environment."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        asked = json.loads(await request.aread())
        asked.pop("stream", None)
        try:
            answer = await litellm.acompletion(
                **asked,
                timeout=request.extensions.get("timeout", {}).get("read"),
                max_retries=0,  # the client's business
                drop_params=True,  # what a provider knows nothing of, such as a seed
            )
        except openai.APITimeoutError as error:
            raise httpx.ReadTimeout(str(error), request=request) from error
        except openai.APIConnectionError as error:
            raise httpx.ConnectError(str(error), request=request) from error
        except openai.APIError as error:
            return _refusal(error, request)
        # It warns of finish reasons that are not OpenAI's, such as Anthropic's refusal.
        body = answer.model_dump(mode="json", warnings=False)
        cost = answer._hidden_params.get("response_cost")
        if cost is not None and body.get("usage"):
            body["usage"]["cost"] = cost  # in US dollars, where OpenRouter has it too
        return httpx.Response(200, json=body, request=request)


def _refusal(error: openai.APIError, request: httpx.Request) -> httpx.Response:
    code: Any = error.code
    if isinstance(error, litellm.ContextWindowExceededError):
        code = "context_length_exceeded"
    elif isinstance(error, litellm.ContentPolicyViolationError):
        code = "content_policy_violation"
    # LiteLLM's errors have their headers here; those of the response that they carry are empty.
    said = getattr(error, "litellm_response_headers", None) or {}
    waits = {name: said[name] for name in ("retry-after", "retry-after-ms") if name in said}
    return httpx.Response(
        int(getattr(error, "status_code", None) or 500),
        headers=waits,
        json={"error": {"message": str(error), "type": type(error).__name__, "code": code}},
        request=request,
    )
