"""Keep secrets out of logs, events and errors.

What a secret is, the environment says: the values of variables named like one. Beside those, what
looks like a key or a bearer token is left out wherever it came from.
"""

from __future__ import annotations

import logging
import os
import re
from typing import Any

_NAMES = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS)$")
_LOOKS_SECRET = re.compile(r"\b(sk-[A-Za-z0-9_*-]{8,}|Bearer\s+[A-Za-z0-9._~+/=-]{8,})")
_SHORTEST = 8
_SHOWN = "[secret]"


def secrets() -> list[str]:
    """The values to leave out, the longest first: one may contain another."""
    values = {value for name, value in os.environ.items() if _NAMES.search(name)}
    return sorted((v for v in values if len(v) >= _SHORTEST), key=len, reverse=True)


def redact(text: str) -> str:
    for secret in secrets():
        text = text.replace(secret, _SHOWN)
    return _LOOKS_SECRET.sub(_SHOWN, text)


def redact_all(value: Any) -> Any:
    """The same for every text in nested lists and dictionaries, as JSON has them."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {redact(str(key)): redact_all(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact_all(item) for item in value]
    return value


class RedactingFormatter(logging.Formatter):
    """Leaves secrets out of whole log lines, tracebacks among them."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def log_to_stderr(level: str) -> None:
    """All logs of this process, without secrets, in place of what was set up before."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        RedactingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S")
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("httpx", "httpcore", "openai", "LiteLLM", "asyncio"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLogger().level))
