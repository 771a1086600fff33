"""The FastAPI app: one router per resource, and the middleware around them."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from anyio import CapacityLimiter
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response

from environment.language_model import LlmBudgetSpent, LlmFailed, LlmUnavailable
from service import VERSION
from service.checker import Checker, CheckerFailed
from service.folders import Folders
from service.metrics import CountResponses, Metrics
from service.redaction import redact
from service.schemas import Problem
from service.settings import ServiceSettings
from service.store import KeyReused, ModelBusy, NoSuchJob, QueueFull, Store
from service.stream import Feed, TooManyStreams
from service.supervisor import Supervisor, worker_environ
from web.auth import BearerAuth, RateLimit
from web.guard import Guard, failed, invalid, json_answer

log = logging.getLogger(__name__)
_RETRY_AFTER_S = 5
_CHECKS = 8  # threads that wait for the checking process; more requests wait without one
_STATUSES: dict[type[Exception], int] = {
    NoSuchJob: 404,
    ModelBusy: 409,
    KeyReused: 409,
    QueueFull: 503,
    TooManyStreams: 503,
    CheckerFailed: 503,
    LlmUnavailable: 503,
    LlmBudgetSpent: 503,
    LlmFailed: 502,
    sqlite3.OperationalError: 503,  # such as a full disk
}
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The body is not JSON."},
    401: {"model": Problem, "description": "The token is missing or wrong."},
    403: {"model": Problem, "description": "A page of another site sent the request."},
    413: {"model": Problem, "description": "The body is too large."},
    421: {"model": Problem, "description": "The host is not this machine."},
    422: {"model": Problem, "description": "A field is invalid; each entry names one."},
    429: {"model": Problem, "description": "Too many requests."},
    503: {
        "model": Problem,
        "description": "The service cannot do this now, or not on this machine.",
    },
}
NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "There is no such model."}
}
CONFLICT: dict[int | str, dict[str, Any]] = {
    409: {"model": Problem, "description": "The model or the key is already in use."}
}


@dataclass(slots=True)
class Service:
    """Shared by the routers."""

    settings: ServiceSettings
    folders: Folders
    store: Store
    supervisor: Supervisor
    checker: Checker
    feed: Feed
    hosted: asyncio.Semaphore
    checking: CapacityLimiter
    metrics: Metrics


def service_of(request: Request) -> Service:
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


TheService = Annotated[Service, Depends(service_of)]


def create_app(settings: ServiceSettings) -> FastAPI:
    """The app over a data folder, which no other training service may use."""
    from service.routers import health, hosted, jobs, metrics, models, page, train

    folders = Folders(settings.data)
    store = Store(folders.database)
    feed = Feed(store, settings.streams, settings.heartbeat_s)
    service = Service(
        settings=settings,
        folders=folders,
        store=store,
        supervisor=Supervisor(store, folders, settings),
        checker=Checker(settings, worker_environ(settings.log_level)),
        feed=feed,
        hosted=asyncio.Semaphore(settings.hosted_requests),
        checking=CapacityLimiter(_CHECKS),
        metrics=Metrics(store, feed),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.supervisor.start()
        device_lookup = asyncio.create_task(asyncio.to_thread(_find_device, service.checker))
        try:
            yield
        finally:
            service.checker.close()
            await asyncio.wait({device_lookup})
            await asyncio.to_thread(service.supervisor.stop)
            store.close()

    app = FastAPI(
        title="art-rl training service",
        version=VERSION,
        description="Train agents with reinforcement learning: durable jobs, one worker each.",
        lifespan=lifespan,
        responses=REFUSALS,
    )
    app.state.service = service
    for router in (page, health, metrics, models, train, jobs, hosted):
        app.include_router(router.router)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, failed)
    for kind, status in _STATUSES.items():
        app.add_exception_handler(kind, _refusing(status))
    token = settings.token.get_secret_value() if settings.token else None
    # The last middleware added is the outermost.
    app.add_middleware(Guard, local_only=token is None, max_body_bytes=settings.max_body_bytes)
    app.add_middleware(BearerAuth, token=token, public=page.PATHS)
    app.add_middleware(RateLimit, per_minute=settings.requests_per_minute)
    app.add_middleware(CountResponses, responses=service.metrics.responses)
    return app


def _find_device(checker: Checker) -> None:
    try:
        checker.find_device()
    except CheckerFailed as error:
        log.warning("could not detect the device: %s", error)


def _refusing(status: int) -> Callable[[Request, Exception], Any]:
    async def refuse(_: Request, error: Exception) -> Response:
        wait = {"Retry-After": str(_RETRY_AFTER_S)} if status == 503 else {}
        return json_answer(status, {"detail": redact(str(error))}, **wait)

    return refuse
