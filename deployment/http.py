"""The parts of the HTTP service that know nothing of ZenML: the page, the stream, the end."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles

from deployment.answerer import Answerer, Unavailable
from environment.deployable import Unanswerable
from web.guard import FAILED, failed, invalid, json_answer, server_sent

WEB = Path(__file__).parents[1] / "web"
_KEEP_ALIVE_S = 10
_RETRY_AFTER_S = 2
_LINGER_S = 0.5

log = logging.getLogger(__name__)


def add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(WEB / "index.html")

    app.mount("/assets", StaticFiles(directory=WEB / "assets"), name="assets")


def add_error_answers(app: FastAPI) -> None:
    """Every mistake of a caller gets an answer that names the field, every failure of ours that
    will pass a 503."""
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Unanswerable, _unanswerable)
    app.add_exception_handler(Unavailable, _unavailable)
    app.add_exception_handler(Exception, failed)


async def _unanswerable(_: Request, error: Exception) -> Response:
    assert isinstance(error, Unanswerable)
    loc = ["body", "parameters", error.field]
    return json_answer(422, {"detail": [{"loc": loc, "msg": str(error), "type": error.kind}]})


async def _unavailable(_: Request, error: Exception) -> Response:
    return json_answer(503, {"detail": str(error)}, **{"Retry-After": str(_RETRY_AFTER_S)})


async def events(answerer: Answerer, question: Any) -> AsyncIterator[bytes]:
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
            yield server_sent(*item)
        try:
            done = working.result()
        except Unavailable as error:
            yield server_sent("error", {"message": str(error)})
            return
        except Exception:
            log.exception("the agent failed")
            yield server_sent("error", {"message": FAILED})
            return
        sources = [source.model_dump(mode="json") for source in done.sources]
        yield server_sent("answer", done.answer.model_dump(mode="json") | {"sources": sources})
    finally:
        working.cancel()  # whoever asked has gone


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
