"""Ask a hosted language model for an answer of a given form.

On top of LiteLLM, so any provider's model or any OpenAI-compatible server will do, with what judging
at scale needs: the form is checked and a bad reply is shown its fault once, rate limits are waited
for as the server says, no more requests run at once than allowed, replies are kept by what was
asked, and what it costs is counted and bounded.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import random
import time
from collections.abc import Callable
from dataclasses import asdict
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import openai
from pydantic import BaseModel, ValidationError

from agent.hosted.redaction import redact
from environment.language_model import (
    Form,
    LlmBudgetSpent,
    LlmConfig,
    LlmFailed,
    LlmUnavailable,
    LlmUsage,
    Message,
)

log = logging.getLogger(__name__)

_ATTEMPTS = 4
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 60.0
_SHOWN_OF_A_BAD_REPLY = 120


@cache
def _litellm() -> Any:
    """LiteLLM, only where a model is asked: importing it takes longer than all else here together."""
    import litellm

    # It prints advice for its developers on every error.
    litellm.suppress_debug_info = True
    logging.getLogger("LiteLLM").setLevel(logging.WARNING)  # two lines a request otherwise
    return litellm


def check_llm(config: LlmConfig) -> None:
    """
    Raises:
        LlmUnavailable: there is no such provider, the environment has no key for it, or its cost
            is bounded but unknown.
    """
    if not config.api_base:
        check_provider(config.model)
    if config.max_cost_usd is not None and _price(config, 1, 1) is None:
        raise LlmUnavailable(
            f"max_cost_usd is set, but nobody knows what {config.model} costs: set "
            "usd_per_million_in and usd_per_million_out"
        )


def provider_of(model: str) -> str | None:
    """Whose model LiteLLM takes it for; None if nobody's."""
    try:
        return str(_litellm().get_llm_provider(model)[1])
    except openai.BadRequestError:
        return None


def check_provider(model: str) -> None:
    """
    Raises:
        LlmUnavailable: LiteLLM knows no provider of this model, or the environment has no key.
    """
    provider = provider_of(model)
    if provider is None:
        raise LlmUnavailable(
            f"LiteLLM knows no provider for the model {model}: write it as provider/name, such as "
            "openai/o3, or name its server as api_base"
        )
    asked = _litellm().validate_environment(model)
    if not asked["keys_in_environment"]:
        # Gemini's are two names of one key.
        needed = (" or " if provider == "gemini" else " and ").join(asked["missing_keys"])
        raise LlmUnavailable(
            f"the model {model} needs {needed} in the environment; or name a server of your own "
            "as api_base"
        )


class LanguageModel:
    """One model, asked by many at once.

    Attributes:
        usage: what was asked and what it cost so far.
        priced: whether anybody knows what it costs.

    Args:
        cache: a folder that keeps every usable answer under what was asked for; a run that is
            continued pays for nothing twice.
    """

    def __init__(self, config: LlmConfig, cache: Path | None = None) -> None:
        _litellm()  # now, and not while requests are being timed
        self.config, self.usage = config, LlmUsage()
        self.priced = _price(config, 1, 1) is not None
        self._cache = cache
        self._slots = asyncio.Semaphore(config.concurrency)
        self._spending: Path | None = None
        self._options: dict[str, Any] = {}
        if config.api_base:
            key = os.environ.get("OPENAI_API_KEY") or "none"
            self._options = {"api_base": config.api_base, "api_key": key}

    def keep_spending(self, file: Path) -> None:
        """Count in a file from now on what is paid for, as well as what is there already: what an
        attempt that was killed has paid is paid."""
        self._spending = file
        if file.exists():
            self.usage = LlmUsage(**json.loads(file.read_text(encoding="utf-8")))
            self.usage.cached = 0

    async def ask(
        self,
        messages: list[Message],
        form: type[Form],
        check: Callable[[Form], None] | None = None,
        temperature: float | None = None,
    ) -> Form:
        """An answer of the given form.

        Args:
            check: raises ValueError, with a text for the model, on an answer that cannot be.
            temperature: None leaves it to the model.

        Raises:
            LlmFailed: it could not be reached, or gave no usable answer twice.
            LlmBudgetSpent: it may not be asked any more.
        """
        kept = self._kept_at(messages, form, temperature)
        if kept is not None and kept.exists():
            try:
                answer = _usable(kept.read_text(encoding="utf-8"), form, check)
            except ValueError:  # cut off by a power cut, or of an older version
                log.warning("%s is no usable answer; the model is asked again", kept)
            else:
                self.usage.cached += 1
                return answer
        content = fault = ""
        for _ in range(2):
            if fault:
                shown_fault = {"role": "user", "content": f"{fault} Answer again."}
                messages = [*messages, {"role": "assistant", "content": content}, shown_fault]
            content = await self._reply(messages, form, temperature)
            try:
                answer = _usable(content, form, check)
            except ValueError as error:
                fault = str(error)
                continue
            if kept is not None:
                _write(kept, answer.model_dump_json())
            return answer
        shown = redact(content)[:_SHOWN_OF_A_BAD_REPLY]
        raise LlmFailed(
            f"{self.config.model} gave no usable answer, twice: {redact(fault)} It said: {shown!r}"
        )

    async def _reply(
        self, messages: list[Message], form: type[BaseModel], temperature: float | None
    ) -> str:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                async with self._slots:
                    self._check_budget()
                    async with asyncio.timeout(self.config.timeout_s):
                        return await self._request(messages, form, temperature)
            except (openai.OpenAIError, TimeoutError) as error:  # LiteLLM's are all of the first
                if attempt == _ATTEMPTS or not _may_pass(error):
                    told = str(error) or f"no answer within {self.config.timeout_s:g} s"
                    raise LlmFailed(redact(f"{self.config.model}: {told}")) from error
                wait = _wait_s(error, attempt)
                log.warning(
                    "%s: %s; again in %.1f s", self.config.model, type(error).__name__, wait
                )
                await asyncio.sleep(wait)
        raise AssertionError("unreachable")

    def _check_budget(self) -> None:
        # Before each request, so those under way may go over it by what they cost.
        limit = self.config.max_cost_usd
        if limit is not None and self.usage.cost_usd >= limit:
            spent = f"{self.usage.cost_usd:.4f} USD; max_cost_usd is {limit:g}"
            raise LlmBudgetSpent(f"{self.config.model} has cost {spent}")

    async def _request(
        self, messages: list[Message], form: type[BaseModel], temperature: float | None
    ) -> str:
        response = await _litellm().acompletion(
            model=self.config.model,
            messages=messages,
            response_format=form,
            temperature=temperature,
            timeout=self.config.timeout_s,
            max_retries=0,
            drop_params=True,  # of models without forms; they are told in words
            **self._options,
        )
        self._count(response)
        if not response.choices:
            raise LlmFailed(f"{self.config.model}: a reply without choices")
        message = response.choices[0].message
        # LiteLLM has no field for a refusal.
        refusal = (message.get("provider_specific_fields") or {}).get("refusal")
        return message.content or refusal or "(nothing)"

    def _count(self, response: Any) -> None:
        used = response.get("usage")
        given = (used.prompt_tokens or 0) if used else 0
        written = (used.completion_tokens or 0) if used else 0
        self.usage.requests += 1
        self.usage.prompt_tokens += given
        self.usage.completion_tokens += written
        self.usage.cost_usd += _price(self.config, given, written) or 0.0
        if self._spending:
            _write(self._spending, json.dumps(asdict(self.usage)))

    def _kept_at(
        self, messages: list[Message], form: type[BaseModel], temperature: float | None
    ) -> Path | None:
        if self._cache is None:
            return None
        asked: list[Any] = [self.config.model, self.config.api_base, messages]
        asked.append(form.model_json_schema())
        if temperature is not None:  # not always: what was kept before there was one stays valid
            asked.append(temperature)
        # In ASCII, as a text may hold what UTF-8 cannot.
        digest = hashlib.blake2b(json.dumps(asked, sort_keys=True).encode(), digest_size=16)
        return self._cache / f"{digest.hexdigest()}.json"


def _usable(content: str, form: type[Form], check: Callable[[Form], None] | None) -> Form:
    """
    Raises:
        ValueError: the reply is not what was asked for; the text tells the model how.
    """
    try:
        answer = form.model_validate_json(content)
    except ValidationError as error:
        schema = json.dumps(form.model_json_schema())
        raise ValueError(f"The reply was not JSON of the form asked for: {schema}.") from error
    if check:
        check(answer)
    return answer


def _price(config: LlmConfig, given: int, written: int) -> float | None:
    """US dollars, or None if nobody knows."""
    per_in, per_out = config.usd_per_million_in, config.usd_per_million_out
    if per_in is not None and per_out is not None:
        return (given * per_in + written * per_out) / 1e6
    if config.api_base:
        return None  # whatever the name, it is not the provider's price
    try:
        name, provider, *_ = _litellm().get_llm_provider(config.model)
    except openai.BadRequestError:
        return None
    costs = _litellm().model_cost
    known = costs.get(f"{provider}/{name}") or costs.get(name)
    if not known or "input_cost_per_token" not in known:
        return None
    rates = known["input_cost_per_token"], known.get("output_cost_per_token", 0.0)
    return float(given * rates[0] + written * rates[1])


def _may_pass(error: Exception) -> bool:
    status = getattr(error, "status_code", None)
    if isinstance(error, TimeoutError | openai.APIConnectionError) or status is None:
        return True
    return status in (408, 409, 429) or status >= 500


def _wait_s(error: Exception, attempt: int) -> float:
    """What the server asks for, or twice as long each time, with some chance in it."""
    # LiteLLM keeps the server's headers there; those of its error's response are empty.
    headers = getattr(error, "litellm_response_headers", None) or {}
    asked = _retry_after_s(headers.get("retry-after", ""))
    if asked is None:
        asked = _FIRST_WAIT_S * 2.0 ** (attempt - 1) * random.uniform(0.5, 1)
    return min(asked, _LONGEST_WAIT_S)


def _retry_after_s(header: str) -> float | None:
    """Seconds, written as such or as a date (RFC 9110, 10.2.3)."""
    if header.replace(".", "", 1).isdigit():
        return float(header)
    try:
        when = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, when.timestamp() - time.time())


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
        file.write(text)
    os.replace(file.name, path)
