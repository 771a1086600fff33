"""The parts of a deployment that do not depend on ZenML: page, stream, errors, shutdown."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from deployment.answerer import Answerer, Unavailable
from environment.deployable import Unanswerable
from web.events import event_stream, server_sent
from web.guard import FAILED, failed, invalid, json_answer
from web.page import ASSETS, page_router

WEB = Path(__file__).parents[1] / "web"
_KEEP_ALIVE_S = 10
_RETRY_AFTER_S = 2
_LINGER_S = 0.5

log = logging.getLogger(__name__)


def add_page(app: FastAPI) -> None:
    app.include_router(page_router(WEB / "index.html", "assets", ASSETS))


def add_error_answers(app: FastAPI) -> None:
    """Answer invalid requests with the field at fault, and temporary failures with 503."""
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


def answer_stream(answerer: Answerer, question: Any) -> EventSourceResponse:
    """The agent's tool events, then ``answer`` or ``error``, as server-sent events."""
    return event_stream(_events(answerer, question), _KEEP_ALIVE_S)


async def _events(answerer: Answerer, question: Any) -> AsyncIterator[ServerSentEvent]:
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[tuple[str, Any] | None] = asyncio.Queue()

    def put(item: tuple[str, Any] | None) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, item)

    def watch(record: dict[str, Any]) -> None:
        put((record["event"], {k: v for k, v in record.items() if k != "event"}))

    working = answerer.submit(question, watch)
    working.add_done_callback(lambda _: put(None))
    try:
        while (item := await queue.get()) is not None:
            yield server_sent(*item)
        done = working.result()
    except Unavailable as error:
        yield server_sent("error", {"message": str(error)})
    except Exception:
        log.exception("the agent failed")
        yield server_sent("error", {"message": FAILED})
    else:
        sources = [source.model_dump(mode="json") for source in done.sources]
        yield server_sent("answer", done.answer.model_dump(mode="json") | {"sources": sources})
    finally:
        working.cancel()  # the client may have left


def drain_on_sigterm(answerer: Answerer, grace_s: float) -> None:
    """On SIGTERM, refuse new questions with 503 and give those in flight ``grace_s`` seconds. Then stop
    accepting connections, answer requests on the open ones, and only then call the previous handler,
    uvicorn's, which closes idle connections. Main thread only."""
    previous = signal.getsignal(signal.SIGTERM)

    def wait_until_idle(at_most_s: float) -> None:
        deadline = time.monotonic() + at_most_s
        while answerer.idle_s < _LINGER_S and time.monotonic() < deadline:
            time.sleep(0.05)

    def wind_down(number: int, frame: Any) -> None:
        wait_until_idle(grace_s + _LINGER_S)
        _stop_accepting(previous)
        time.sleep(_LINGER_S)
        wait_until_idle(_LINGER_S)
        if callable(previous):
            previous(number, frame)

    def on_sigterm(number: int, frame: Any) -> None:
        answerer.drain(grace_s)
        threading.Thread(target=wind_down, args=(number, frame), daemon=True).start()

    signal.signal(signal.SIGTERM, on_sigterm)


def _stop_accepting(handler: Any) -> None:
    """Close the listening sockets of the uvicorn server whose signal handler this is."""
    server = getattr(handler, "__self__", None)
    if isinstance(server, uvicorn.Server):
        for listening in server.servers:
            listening.get_loop().call_soon_threadsafe(listening.close)
