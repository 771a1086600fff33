"""The policy server: OpenAI's chat completions API, with the exact tokens of every reply.

With ``return_token_ids``, a reply also carries the token ids of the prompt (``prompt_token_ids``) and
the completion (``choices[0].token_ids``), under vLLM's names. A model is named ``<name>@<step>``; the
bare name means the newest checkpoint.

Rejects what it does not support: several choices, stop strings, nucleus sampling, penalties, forced
tool calls. With ``stream``, the finished reply is sent as one chunk.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any
from uuid import uuid4

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException as StarletteHTTPException

from backends.chat_format import TEMPLATE_ERRORS, ChatFormat
from backends.sampling import NoSuchCheckpoint, Sample, SampleRequest, SamplingEngine

_DEFAULT_MAX_TOKENS = 512
_ROLES = {"system", "user", "assistant", "tool"}
_STEP = re.compile("[0-9]{1,9}")


class ChatRequest(BaseModel):
    """The supported part of OpenAI's request; other fields are ignored."""

    model_config = ConfigDict(extra="ignore")

    model: str
    messages: list[dict[str, Any]] = Field(min_length=1)
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    temperature: float | None = Field(None, ge=0, le=10)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    seed: int | None = None
    logprobs: bool | None = None
    return_token_ids: bool = False
    stream: bool | None = None
    n: int | None = None
    stop: str | list[str] | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None

    @property
    def offered_tools(self) -> list[dict[str, Any]] | None:
        return None if self.tool_choice == "none" else self.tools

    def unsupported(self) -> str | None:
        """The first field with an unsupported value."""
        fields = {
            "n": self.n not in (None, 1),
            "stop": bool(self.stop),
            "top_p": self.top_p not in (None, 1, 1.0),
            "presence_penalty": bool(self.presence_penalty),
            "frequency_penalty": bool(self.frequency_penalty),
            "tool_choice": self.tool_choice not in (None, "auto", "none"),
        }
        return next((name for name, unsupported in fields.items() if unsupported), None)


class _Refusal(HTTPException):
    """An error in OpenAI's format."""

    def __init__(self, status: int, message: str, code: str) -> None:
        kind = "authentication_error" if status == 401 else "invalid_request_error"
        super().__init__(status, {"message": message, "type": kind, "code": code})


def create_app(engine: SamplingEngine, name: str, api_key: str | None = None) -> FastAPI:
    """
    Args:
        name: the model's name, without a step.
        api_key: required as a bearer token, unless None.
    """
    app = FastAPI(title="Embedded policy server")
    app.add_exception_handler(StarletteHTTPException, _as_openai)
    app.add_exception_handler(RequestValidationError, _invalid)

    def check_key(request: Request) -> None:
        if api_key and request.headers.get("authorization") != f"Bearer {api_key}":
            raise _Refusal(401, "the API key is missing or wrong", "invalid_api_key")

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "model": name, "step": engine.policy.step}

    @app.get("/stats")
    async def stats() -> dict[str, Any]:
        return asdict(engine.stats())

    @app.get("/v1/models")
    async def models(request: Request) -> dict[str, Any]:
        check_key(request)
        model = {"id": f"{name}@{engine.policy.step}", "object": "model", "created": 0}
        return {"object": "list", "data": [model | {"owned_by": "art-rl"}]}

    @app.post("/v1/chat/completions")
    async def chat(request: Request, body: ChatRequest) -> Response:
        check_key(request)
        prompt_ids = _prompt_ids(body, engine)
        sample_request = _sample_request(body, prompt_ids, engine.policy.max_tokens)
        step = _step(body.model, name, engine.policy.step)
        try:
            sample = await asyncio.wrap_future(engine.submit(step, sample_request))
        except NoSuchCheckpoint as error:
            raise _Refusal(404, f"{body.model}: {error}", "model_not_found") from error
        reply = _reply(body, prompt_ids, sample, engine.policy.chat)
        if body.stream:
            return StreamingResponse(_stream(reply), media_type="text/event-stream")
        # FastAPI's own encoder takes longer over the logprobs than sampling them.
        return Response(json.dumps(reply), media_type="application/json")

    return app


async def _as_openai(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StarletteHTTPException)
    detail: Any = error.detail
    if not isinstance(detail, dict):
        detail = {"message": detail, "type": "invalid_request_error", "code": None}
    return JSONResponse({"error": detail}, error.status_code)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    detail = {"message": f"{where}: {first['msg']}", "type": "invalid_request_error"}
    return JSONResponse({"error": detail | {"code": "invalid_request"}}, 400)


def _prompt_ids(body: ChatRequest, engine: SamplingEngine) -> list[int]:
    if field := body.unsupported():
        raise _Refusal(400, f"{field}: this value is not supported here", "unsupported")
    unknown = {str(m.get("role")) for m in body.messages} - _ROLES
    if unknown:
        # Templates silently drop messages with an unknown role.
        raise _Refusal(400, f"messages: no role {min(unknown)!a}", "invalid_request")
    try:
        return engine.policy.chat.prompt_ids(body.messages, body.offered_tools)
    except TEMPLATE_ERRORS as error:
        raise _Refusal(400, f"messages: {error}", "invalid_request") from error


def _sample_request(body: ChatRequest, prompt_ids: list[int], max_tokens: int) -> SampleRequest:
    room = max_tokens - len(prompt_ids)
    if room < 1:
        message = f"the prompt has {len(prompt_ids)} tokens; the model takes {max_tokens} in all"
        raise _Refusal(400, message, "context_length_exceeded")
    limit = body.max_completion_tokens or body.max_tokens or _DEFAULT_MAX_TOKENS
    return SampleRequest(
        prompt_ids,
        max_tokens=min(limit, room),
        temperature=1.0 if body.temperature is None else body.temperature,
        seed=uuid4().int if body.seed is None else body.seed,
    )


def _step(model: str, name: str, newest: int) -> int:
    base, _, step = model.partition("@")
    if base != name or (step and not _STEP.fullmatch(step)):
        raise _Refusal(404, f"no model {model[:80]!a} here; try {name}", "model_not_found")
    return int(step) if step else newest


def _reply(
    body: ChatRequest, prompt_ids: list[int], sample: Sample, chat: ChatFormat
) -> dict[str, Any]:
    decode = chat.tokenizer.decode
    written = sample.token_ids[:-1] if sample.ended else sample.token_ids
    text = decode(written, skip_special_tokens=False)
    content, calls = chat.parse(text) if body.offered_tools else (text, [])
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
    if calls:
        message["tool_calls"] = calls
    finish = ("tool_calls" if calls else "stop") if sample.ended else "length"
    choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": finish}
    choice["logprobs"] = _logprobs(sample, decode) if body.logprobs else None
    reply = {
        "id": f"chatcmpl-{uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body.model,
        "choices": [choice],
        "usage": {
            "prompt_tokens": len(prompt_ids),
            "completion_tokens": len(sample.token_ids),
            "total_tokens": len(prompt_ids) + len(sample.token_ids),
        },
    }
    if body.return_token_ids:
        reply["prompt_token_ids"] = prompt_ids
        choice["token_ids"] = sample.token_ids
    return reply


def _logprobs(sample: Sample, decode: Any) -> dict[str, Any]:
    entries = []
    for token_id, logprob in zip(sample.token_ids, sample.logprobs, strict=True):
        token = decode([token_id])
        entry = {"token": token, "bytes": list(token.encode()), "top_logprobs": []}
        entries.append(entry | {"logprob": logprob})
    return {"content": entries, "refusal": None}


def _stream(reply: dict[str, Any]) -> Iterator[str]:
    choice = reply["choices"][0]
    calls = [c | {"index": i} for i, c in enumerate(choice["message"].get("tool_calls", []))]
    delta = choice["message"] | ({"tool_calls": calls} if calls else {})
    head = {k: reply[k] for k in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    first = {"index": 0, "delta": delta, "finish_reason": None}
    last = {"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}
    # Usage only in the last chunk: clients sum it over chunks.
    for chunk, usage in ((first, None), (last, reply["usage"])):
        yield f"data: {json.dumps(head | {'choices': [chunk], 'usage': usage})}\n\n"
    yield "data: [DONE]\n\n"
