"""Who may ask, and how often: ASGI middleware in front of the API."""

from __future__ import annotations

import hmac
import math
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from web.guard import Receive, Scope, Send, json_answer

OPEN = frozenset({"/health"})
_MOST_CLIENTS = 10_000
_SCHEME = b"bearer "


class BearerAuth:
    """Lets through who shows the token. Without a token the service is reached from this machine
    only (see ``settings``), and what is refused is a page of another site in a browser here.

    Args:
        token: None where callers need none.
        public: paths that say nothing of jobs and are open to all, as ``OPEN`` is.
    """

    def __init__(self, app: Any, token: str | None, public: frozenset[str] = frozenset()) -> None:
        self._app, self._open = app, OPEN | public
        self._token = token.encode() if token else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in self._open:
            headers = dict(scope["headers"])
            answer = self._refusal(headers)
            if answer is not None:
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, headers: dict[bytes, bytes]) -> Any:
        if self._token is None:
            origin = headers.get(b"origin")
            if origin is not None and not _is_own(origin, headers.get(b"host", b"")):
                return json_answer(403, {"detail": "pages of other sites may not ask this service"})
            return None
        shown = headers.get(b"authorization", b"")
        given = shown[len(_SCHEME) :].strip() if shown.lower().startswith(_SCHEME) else b""
        if hmac.compare_digest(given, self._token):
            return None
        detail = "show the service's token: Authorization: Bearer …"
        return json_answer(401, {"detail": detail}, **{"WWW-Authenticate": "Bearer"})


def _is_own(origin: bytes, host: bytes) -> bool:
    """Whether a page of this service asks: one of another port is of another site."""
    try:
        return urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        return False


class RateLimit:
    """So many requests of one address in a minute, as a bucket that fills steadily; its size is a
    minute's worth.

    Args:
        clock: seconds, for tests.
    """

    def __init__(
        self, app: Any, per_minute: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app, self._size, self._clock = app, float(per_minute), clock
        self._left: dict[str, tuple[float, float]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN:
            wait_s = self._take((scope.get("client") or ("",))[0])
            if wait_s:
                detail = f"more than {self._size:g} requests a minute; again in {wait_s} s"
                answer = json_answer(429, {"detail": detail}, **{"Retry-After": str(wait_s)})
                await answer(scope, receive, send)  # type: ignore[arg-type]
                return
        await self._app(scope, receive, send)

    def _take(self, client: str) -> int:
        """Seconds to wait; 0 if the request may pass."""
        now = self._clock()
        left, since = self._left.pop(client, (self._size, now))
        left = min(self._size, left + (now - since) * self._size / 60)
        # At the end, so that who has been silent longest is forgotten first.
        self._left[client] = (left - 1 if left >= 1 else left, now)
        if len(self._left) > _MOST_CLIENTS:
            del self._left[next(iter(self._left))]
        return 0 if left >= 1 else math.ceil((1 - left) * 60 / self._size)
