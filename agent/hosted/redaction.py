"""Keeps secrets out of records, reports and errors.

Secrets are the values of environment variables named like one, and whatever looks like a key or a
bearer token. Servers' error messages may echo them.
"""

from __future__ import annotations

import os
import re

_NAMES = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS)$")
_LOOKS_SECRET = re.compile(r"\b(sk-[A-Za-z0-9_*-]{8,}|Bearer\s+[A-Za-z0-9._~+/=-]{8,})")
_SHORTEST = 8
_SHOWN = "[secret]"


def secrets() -> list[str]:
    """The values to redact, longest first, as one may contain another."""
    values = {value for name, value in os.environ.items() if _NAMES.search(name)}
    return sorted((v for v in values if len(v) >= _SHORTEST), key=len, reverse=True)


def redact(text: str) -> str:
    for secret in secrets():
        text = text.replace(secret, _SHOWN)
    return _LOOKS_SECRET.sub(_SHOWN, text)
