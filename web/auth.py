"""ASGI middleware for authentication and rate limits."""

from __future__ import annotations

import hmac
import math
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from web.guard import Receive, Scope, Send, json_answer

HEALTH = "/health"
_MOST_CLIENTS = 10_000
_SCHEME = b"bearer "


class BearerAuth:
    """Requires the bearer token. A server without a token must listen on loopback only, and refuses
    requests that other sites' pages send from a browser on this machine.

    Args:
        public: paths that need no token, in addition to ``HEALTH``.
    """

    def __init__(self, app: Any, token: str | None, public: frozenset[str] = frozenset()) -> None:
        self._app, self._open = app, public | {HEALTH}
        self._token = token.encode() if token else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in self._open:
            refusal = self._refusal(dict(scope["headers"]))
            if refusal is not None:
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, headers: dict[bytes, bytes]) -> Any:
        if self._token is None:
            origin = headers.get(b"origin")
            if origin is not None and not _same_origin(origin, headers.get(b"host", b"")):
                return json_answer(403, {"detail": "pages of other sites may not call this server"})
            return None
        sent = headers.get(b"authorization", b"")
        token = sent[len(_SCHEME) :].strip() if sent.lower().startswith(_SCHEME) else b""
        if hmac.compare_digest(token, self._token):
            return None
        detail = "send the token: Authorization: Bearer …"
        return json_answer(401, {"detail": detail}, **{"WWW-Authenticate": "Bearer"})


def _same_origin(origin: bytes, host: bytes) -> bool:
    """Includes the port."""
    try:
        return urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        return False


class RateLimit:
    """Token-bucket limit per client address, with a minute's requests as bucket size. ``clock`` is in
    seconds, for tests."""

    def __init__(
        self, app: Any, per_minute: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app, self._size, self._clock = app, float(per_minute), clock
        self._buckets: dict[str, tuple[float, float]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] != HEALTH:
            wait_s = self._take((scope.get("client") or ("",))[0])
            if wait_s:
                detail = f"more than {self._size:g} requests a minute; retry in {wait_s} s"
                refusal = json_answer(429, {"detail": detail}, **{"Retry-After": str(wait_s)})
                await refusal(scope, receive, send)  # type: ignore[arg-type]
                return
        await self._app(scope, receive, send)

    def _take(self, client: str) -> int:
        """Seconds to wait; 0 if the request may pass."""
        now = self._clock()
        left, since = self._buckets.pop(client, (self._size, now))
        left = min(self._size, left + (now - since) * self._size / 60)
        # Reinserted at the end, so that the longest idle client is evicted first.
        self._buckets[client] = (left - 1 if left >= 1 else left, now)
        if len(self._buckets) > _MOST_CLIENTS:
            del self._buckets[next(iter(self._buckets))]
        return 0 if left >= 1 else math.ceil((1 - left) * 60 / self._size)
