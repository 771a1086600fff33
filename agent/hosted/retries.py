"""Retry policy for requests to hosted models."""

from __future__ import annotations

import logging
import time
from email.utils import parsedate_to_datetime

import openai
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential_jitter,
)

log = logging.getLogger(__name__)

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0


def retrying(model: str, attempts: int) -> AsyncRetrying:
    """Retries transient failures, then raises the last one."""

    def log_failure(state: RetryCallState) -> None:
        error = state.outcome and state.outcome.exception()  # its text may contain a secret
        name, sleep = type(error).__name__, state.upcoming_sleep
        log.warning("%s: %s; retrying in %.1f s", model, name, sleep)

    return AsyncRetrying(
        retry=retry_if_exception(_is_transient),
        stop=stop_after_attempt(attempts),
        wait=_wait_s,
        before_sleep=log_failure,
        reraise=True,
    )


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, openai.APIStatusError):
        return error.status_code in (408, 409, 429) or error.status_code >= 500
    return isinstance(error, openai.APIConnectionError)  # timeouts too


def _wait_s(state: RetryCallState) -> float:
    """The server's Retry-After, otherwise exponential backoff."""
    error = state.outcome and state.outcome.exception()
    wait = _retry_after_s(error) if isinstance(error, openai.APIStatusError) else None
    if wait is None:
        wait = wait_exponential_jitter(FIRST_WAIT_S, LONGEST_WAIT_S, jitter=FIRST_WAIT_S)(state)
    return min(wait, LONGEST_WAIT_S)


def _retry_after_s(error: openai.APIStatusError) -> float | None:
    """Parse Retry-After in seconds or as a date (RFC 9110, 10.2.3), or OpenAI's milliseconds."""
    headers = error.response.headers
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        text = headers.get(name, "")
        if text.replace(".", "", 1).isdecimal():
            return float(text) * unit
    try:
        date = parsedate_to_datetime(headers.get("retry-after", ""))
    except ValueError:
        return None
    return max(0.0, date.timestamp() - time.time())
