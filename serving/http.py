"""The parts of the HTTP service that know nothing of ZenML: the page, the stream, the guards."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import signal
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles

from serving.answer import Question, UnknownInbox
from serving.answerer import Answerer, Unavailable

WEB = Path(__file__).parents[1] / "web"
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
MAX_BODY_BYTES = 1 << 20
_KEEP_ALIVE_S = 10
_RETRY_AFTER_S = 2
_LINGER_S = 0.5
_FAILED = "the service failed; its log says why"

log = logging.getLogger(__name__)

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(WEB / "index.html")

    app.mount("/assets", StaticFiles(directory=WEB / "assets"), name="assets")


def add_error_answers(app: FastAPI) -> None:
    """Every mistake of a caller gets an answer that names the field, every failure of ours that
    will pass a 503."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(UnknownInbox, _unknown_inbox)
    app.add_exception_handler(Unavailable, _unavailable)
    app.add_exception_handler(Exception, _failed)


async def _failed(_: Request, error: Exception) -> Response:
    # What went wrong inside is for the log, which has it, and not for the caller.
    return _json(500, {"detail": _FAILED}, Connection="close")


def _json(status: int, content: Any, **headers: str) -> Response:
    # In ASCII: a name sent by the caller may hold what UTF-8 cannot.
    return Response(json.dumps(content), status, headers, media_type="application/json")


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # Without the input, which FastAPI would send back: it may be long, and need not be JSON.
    detail = [
        {
            "loc": [str(p)[:80] for p in e["loc"]],
            "msg": e["msg"].removeprefix("Value error, ")[:300],
            "type": e["type"],
        }
        for e in error.errors()[:10]
    ]
    return _json(422, {"detail": detail})


async def _unknown_inbox(_: Request, error: Exception) -> Response:
    loc = ["body", "parameters", "inbox_address"]
    return _json(422, {"detail": [{"loc": loc, "msg": str(error), "type": "unknown_inbox"}]})


async def _unavailable(_: Request, error: Exception) -> Response:
    return _json(503, {"detail": str(error)}, **{"Retry-After": str(_RETRY_AFTER_S)})


async def events(answerer: Answerer, question: Question) -> AsyncIterator[bytes]:
    """What the agent does, as server-sent events, ending with ``answer`` or ``error``."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[tuple[str, Any] | None] = asyncio.Queue()

    def put(item: tuple[str, Any] | None) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, item)

    def watch(record: dict[str, Any]) -> None:
        put((record["event"], {k: v for k, v in record.items() if k != "event"}))

    working = answerer.submit(question, watch)
    working.add_done_callback(lambda _: put(None))
    try:
        while True:
            try:
                item = await asyncio.wait_for(queue.get(), _KEEP_ALIVE_S)
            except TimeoutError:
                yield b": still at work\n\n"
                continue
            if item is None:
                break
            yield _event(*item)
        try:
            done = working.result()
        except Unavailable as error:
            yield _event("error", {"message": str(error)})
            return
        except Exception:
            log.exception("the agent failed")
            yield _event("error", {"message": _FAILED})
            return
        sources = [source.model_dump(mode="json") for source in done.sources]
        yield _event("answer", done.answer.model_dump(mode="json") | {"sources": sources})
    finally:
        working.cancel()  # whoever asked has gone


def _event(name: str, data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


class Guard:
    """ASGI middleware: bounds the body of a request, and, for a service without a key, refuses
    names other than this machine's own, so that no web page can reach it under a name that an
    attacker lets point here (DNS rebinding)."""

    def __init__(self, app: Any, local_only: bool = False) -> None:
        self._app, self._local_only = app, local_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        if self._local_only and not is_loopback(_without_port(host)):
            await _json(
                421,
                {"detail": "this service has no key, so it answers under this machine's name only"},
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
            if len(body) > MAX_BODY_BYTES:
                too_large = {"detail": f"the request is larger than {MAX_BODY_BYTES:,} bytes"}
                await _json(413, too_large, Connection="close")(scope, receive, send)  # type: ignore[arg-type]
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


def drain_on_sigterm(answerer: Answerer, grace_s: float) -> None:
    """On SIGTERM take no more questions, and give those in flight ``grace_s`` seconds; only then
    hand on to the handler that was there (uvicorn's), which closes the socket. Until it is closed
    who comes gets a clean 503. In the main thread only."""
    previous = signal.getsignal(signal.SIGTERM)

    def wind_down(number: int, frame: Any) -> None:
        deadline = time.monotonic() + grace_s + _LINGER_S
        while answerer.idle_s < _LINGER_S and time.monotonic() < deadline:
            time.sleep(0.05)
        if callable(previous):
            previous(number, frame)

    def on_sigterm(number: int, frame: Any) -> None:
        answerer.drain(grace_s)
        threading.Thread(target=wind_down, args=(number, frame), daemon=True).start()

    signal.signal(signal.SIGTERM, on_sigterm)
