"""Keep secrets out of logs, events and errors."""

from __future__ import annotations

import logging
import sys
import threading
from typing import Any

from agent.hosted.redaction import redact

__all__ = ["RedactingFormatter", "log_to_stderr", "redact", "redact_all"]
log = logging.getLogger(__name__)


def redact_all(value: Any) -> Any:
    """``redact`` for every string in nested lists and dictionaries."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {redact(str(key)): redact_all(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact_all(item) for item in value]
    return value


class RedactingFormatter(logging.Formatter):
    """Redacts whole log records, including tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def log_to_stderr(level: str) -> None:
    """Log to stderr, redacted, replacing earlier handlers. Uncaught exceptions are logged too, as their
    tracebacks may contain secrets."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        RedactingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S")
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    sys.excepthook = lambda kind, error, trace: log.critical(
        "the process failed", exc_info=(kind, error, trace)
    )
    threading.excepthook = lambda thread: log.critical(
        "a thread failed",
        exc_info=(thread.exc_type, thread.exc_value or thread.exc_type(), thread.exc_traceback),
    )
    for noisy in ("httpx", "httpcore", "openai", "LiteLLM", "asyncio"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLogger().level))
