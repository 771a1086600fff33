"""Clients of the training service, synchronous and asynchronous.

    with ServiceClient("http://127.0.0.1:8000") as client:
        client.train(TrainRequest(model_name="solver", ...))
        for event in client.stream("default", "solver"):
            ...

or ``client.train_and_wait(request, print)``. A lost stream is resumed where it stopped, so every event
arrives exactly once and in order.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Concatenate, ParamSpec, Self

import httpx
from httpx_sse import aconnect_sse, connect_sse

from service import calls
from service.calls import PATIENCE_S, Answer, Call, Reader, ServiceError, StreamLost
from service.schemas import Event, JobStatus, ModelDetails, TrainRequest

__all__ = ["AsyncServiceClient", "ServiceClient", "ServiceError", "StreamLost"]

_TIMEOUT = httpx.Timeout(200.0, connect=10.0)  # the first request loads the checking process
_RETRY_S = 0.5
Arguments = ParamSpec("Arguments")
Watch = Callable[[Event], object]


def _waiting(
    call: Callable[Arguments, Call[Answer]],
) -> Callable[Concatenate[ServiceClient, Arguments], Answer]:
    @functools.wraps(call)
    def method(
        client: ServiceClient, /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Answer:
        request = call(*args, **kwargs)
        return request.read(client.http.request(**request.options))

    return method


def _awaiting(
    call: Callable[Arguments, Call[Answer]],
) -> Callable[Concatenate[AsyncServiceClient, Arguments], Awaitable[Answer]]:
    @functools.wraps(call)
    async def method(
        client: AsyncServiceClient, /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Answer:
        request = call(*args, **kwargs)
        return request.read(await client.http.request(**request.options))

    return method


def _settings(base_url: str, token: str | None) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return {"base_url": base_url, "headers": headers, "timeout": _TIMEOUT}


class ServiceClient:
    """Every method raises ``ServiceError`` if the service refuses the request.

    Attributes:
        http: the HTTP client, for requests that have no method here.
    """

    def __init__(self, base_url: str, token: str | None = None) -> None:
        self.http = httpx.Client(**_settings(base_url, token))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.http.close()

    train = _waiting(calls.train)
    status = _waiting(calls.status)
    cancel = _waiting(calls.cancel)
    models = _waiting(calls.models)
    model = _waiting(calls.model)
    delete = _waiting(calls.delete)
    rollout = _waiting(calls.rollout)
    evaluate = _waiting(calls.evaluate)
    health = _waiting(calls.health)
    metrics = _waiting(calls.metrics)

    def train_and_wait(self, request: TrainRequest, watch: Watch | None = None) -> JobStatus:
        """Train, wait for the job to end and return its final status.

        Args:
            watch: called with every event of the job.
        """
        job = self.train(request).job_id
        for event in self.stream(request.project, request.model_name, job=job):
            if watch:
                watch(event)
        return _status_of(self.model(request.project, request.model_name), job)

    def stream(
        self,
        project: str,
        model_name: str,
        after: int = 0,
        patience_s: float = PATIENCE_S,
        job: str = "",
    ) -> Iterator[Event]:
        """The events of a job with an id above ``after``, until the job ends.

        Args:
            patience_s: how long to try to reconnect.
            job: its id; by default that of the model's newest job.

        Raises:
            StreamLost: reconnecting failed for that long.
        """
        reader = Reader(after, job, patience_s)
        while not reader.over:
            try:
                opened = connect_sse(self.http, **calls.stream(project, model_name, reader))
                with opened as source:
                    if source.response.is_error:
                        source.response.read()
                    if reader.open(source.response):
                        for sent in source.iter_sse():
                            if event := reader.take(sent):
                                yield event
            except httpx.TransportError as error:
                reader.lost(error)
            if not reader.over:
                time.sleep(_RETRY_S)


class AsyncServiceClient:
    """``ServiceClient`` with ``await``."""

    def __init__(self, base_url: str, token: str | None = None) -> None:
        limits = httpx.Limits(max_connections=None)
        self.http = httpx.AsyncClient(**_settings(base_url, token), limits=limits)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self.http.aclose()

    train = _awaiting(calls.train)
    status = _awaiting(calls.status)
    cancel = _awaiting(calls.cancel)
    models = _awaiting(calls.models)
    model = _awaiting(calls.model)
    delete = _awaiting(calls.delete)
    rollout = _awaiting(calls.rollout)
    evaluate = _awaiting(calls.evaluate)
    health = _awaiting(calls.health)
    metrics = _awaiting(calls.metrics)

    async def train_and_wait(self, request: TrainRequest, watch: Watch | None = None) -> JobStatus:
        """See ``ServiceClient.train_and_wait``."""
        job = (await self.train(request)).job_id
        async for event in self.stream(request.project, request.model_name, job=job):
            if watch:
                watch(event)
        return _status_of(await self.model(request.project, request.model_name), job)

    async def stream(
        self,
        project: str,
        model_name: str,
        after: int = 0,
        patience_s: float = PATIENCE_S,
        job: str = "",
    ) -> AsyncIterator[Event]:
        """See ``ServiceClient.stream``."""
        reader = Reader(after, job, patience_s)
        while not reader.over:
            try:
                opened = aconnect_sse(self.http, **calls.stream(project, model_name, reader))
                async with opened as source:
                    if source.response.is_error:
                        await source.response.aread()
                    if reader.open(source.response):
                        async for sent in source.aiter_sse():
                            if event := reader.take(sent):
                                yield event
            except httpx.TransportError as error:
                reader.lost(error)
            if not reader.over:
                await asyncio.sleep(_RETRY_S)


def _status_of(model: ModelDetails, job: str) -> JobStatus:
    return next(one for one in model.jobs if one.job_id == job)
