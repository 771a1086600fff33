"""ASGI middleware that limits bodies and checks the host name, and JSON error responses."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response

MAX_BODY_BYTES = 1 << 20
FAILED = "the server failed; its log says why"

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


def is_loopback(host: str) -> bool:
    """Whether an address is reachable from this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


async def failed(_: Request, error: Exception) -> Response:
    # The details are in the log, not for the caller.
    return json_answer(500, {"detail": FAILED}, Connection="close")


def json_answer(status: int, content: Any, **headers: str) -> Response:
    # json.dumps writes ASCII: callers' text may contain surrogates, which UTF-8 cannot encode.
    return Response(json.dumps(content), status, headers, media_type="application/json")


async def invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # Without the input that FastAPI echoes: it may be long or not serialisable.
    detail = [
        {
            "loc": [str(p)[:80] for p in e["loc"]],
            "msg": e["msg"].removeprefix("Value error, ")[:300],
            "type": e["type"],
        }
        for e in error.errors()[:10]
    ]
    return json_answer(422, {"detail": detail})


class Guard:
    """ASGI middleware that limits request bodies.

    Args:
        local_only: refuse requests for other host names than loopback, as a server without a key must:
            otherwise a web page could reach it by DNS rebinding.
    """

    def __init__(
        self, app: Any, local_only: bool = False, max_body_bytes: int = MAX_BODY_BYTES
    ) -> None:
        self._app, self._local_only, self._max_body = app, local_only, max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        if self._local_only and not is_loopback(_without_port(host)):
            await json_answer(
                421, {"detail": "this server has no key, so it answers requests to localhost only"}
            )(scope, receive, send)  # type: ignore[arg-type]
            return
        body = b""
        more = headers.get(b"content-length", b"") not in (b"", b"0") or (
            b"transfer-encoding" in headers
        )
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._max_body:
                too_large = {"detail": f"the request is larger than {self._max_body:,} bytes"}
                await json_answer(413, too_large, Connection="close")(scope, receive, send)  # type: ignore[arg-type]
                return
        sent = False

        async def replay() -> dict[str, Any]:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host
