"""A hosted language model with structured output.

An invalid answer is sent back once with an error message. Answers can be cached on disk by request.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import openai
from pydantic import BaseModel, ValidationError

from agent.hosted.connection import Connection
from agent.hosted.ledger import Ledger, is_priced
from agent.hosted.redaction import redact
from environment.files import write_atomically
from environment.language_model import Form, LlmConfig, LlmFailed, LlmUsage, Message

log = logging.getLogger(__name__)

_MAX_SHOWN_CHARS = 120


class LanguageModel:
    """Implements ``environment.language_model.StructuredModel``.

    Args:
        cache: a folder for answers, so that a resumed run pays for nothing twice.
    """

    def __init__(self, config: LlmConfig, cache: Path | None = None) -> None:
        self.config, self.priced = config, is_priced(config)
        self.ledger = Ledger(config.max_cost_usd)
        self._cache = cache
        self._connection = connection = Connection(config, self.ledger)
        transport = connection.transport
        self._client = openai.AsyncOpenAI(
            base_url=connection.base_url,
            api_key=connection.api_key,
            timeout=config.timeout_s,
            max_retries=0,
            http_client=httpx.AsyncClient(transport=transport) if transport else None,
        )

    @property
    def usage(self) -> LlmUsage:
        return self.ledger.usage

    async def ask(
        self,
        messages: list[Message],
        form: type[Form],
        check: Callable[[Form], None] | None = None,
        temperature: float | None = None,
    ) -> Form:
        """See ``StructuredModel.ask``."""
        file = self._cached_at(messages, form, temperature)
        if file is not None and file.exists():
            try:
                answer = _parsed(file.read_text(encoding="utf-8"), form, check)
            except ValueError:  # truncated by a power cut, or from an older version
                log.warning("ignoring the invalid cached answer %s", file)
            else:
                self.usage.cached += 1
                return answer
        content = fault = ""
        for _ in range(2):
            if fault:
                correction = {"role": "user", "content": f"{fault} Answer again."}
                messages = [*messages, {"role": "assistant", "content": content}, correction]
            content = await self._reply(messages, form, temperature)
            try:
                answer = _parsed(content, form, check)
            except ValueError as error:
                fault = str(error)
                continue
            if file is not None:
                write_atomically(file, answer.model_dump_json())
            return answer
        raise self._failed(
            f" gave no usable answer, twice: {fault} It said: "
            f"{redact(content)[:_MAX_SHOWN_CHARS]!r}"
        )

    async def _reply(
        self, messages: list[Message], form: type[BaseModel], temperature: float | None
    ) -> str:
        try:
            return await self._connection.run(lambda: self._request(messages, form, temperature))
        except openai.APITimeoutError as error:
            raise self._failed(f": no answer within {self.config.timeout_s:g} s") from error
        except openai.OpenAIError as error:
            raise self._failed(f": {error}") from error

    def _failed(self, fault: str) -> LlmFailed:
        return LlmFailed(redact(f"{self.config.model}{fault}"))

    async def _request(
        self, messages: list[Any], form: type[BaseModel], temperature: float | None
    ) -> str:
        # Raw, because an invalid reply is needed for the correction.
        response = await self._client.chat.completions.with_raw_response.parse(
            model=self._connection.name,
            messages=messages,
            response_format=form,
            temperature=openai.omit if temperature is None else temperature,
        )
        try:
            body = response.http_response.json()
            self._connection.charge(body.get("usage"))
            message = body["choices"][0]["message"]
            content = str(message.get("content") or message.get("refusal") or "(nothing)")
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise openai.OpenAIError(f"the endpoint sent no usable reply: {error!r}") from error
        return content.encode(errors="replace").decode()  # may be sent back, as UTF-8

    def _cached_at(
        self, messages: list[Message], form: type[BaseModel], temperature: float | None
    ) -> Path | None:
        if self._cache is None:
            return None
        key: list[Any] = [self.config.model, self.config.api_base, messages]
        key.append(form.model_json_schema())
        if temperature is not None:  # only then, so that older cache entries stay valid
            key.append(temperature)
        # json.dumps escapes non-ASCII: texts may contain lone surrogates.
        digest = hashlib.blake2b(json.dumps(key, sort_keys=True).encode(), digest_size=16)
        return self._cache / f"{digest.hexdigest()}.json"


def _parsed(content: str, form: type[Form], check: Callable[[Form], None] | None) -> Form:
    """
    Raises:
        ValueError: the reply is invalid; the message is sent back to the model.
    """
    try:
        answer = form.model_validate_json(content)
    except ValidationError as error:
        schema = json.dumps(form.model_json_schema())
        raise ValueError(f"The reply was not JSON of the form asked for: {schema}.") from error
    if check:
        check(answer)
    return answer
