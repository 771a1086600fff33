"""Keep secrets out of what a run writes: its records and reports, and who asked may show them.

What a secret is, the environment says: the values of variables named like one. Beside those, what
looks like a key or a bearer token is left out wherever it came from. Servers repeat what they were
sent, so the text of an error from outside may hold one.
"""

from __future__ import annotations

import os
import re

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
