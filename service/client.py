"""A client of the training service, with and without ``await``.

    with ServiceClient("http://127.0.0.1:8000") as client:
        client.train(TrainRequest(model_name="solver", ...))
        for event in client.stream("default", "solver"):
            ...

A stream that breaks off is taken up where it stopped, so every event comes once and in order.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

import httpx
from pydantic import BaseModel

from service.schemas import (
    Accepted,
    Event,
    Health,
    JobStatus,
    ModelDetails,
    ModelList,
    TrainRequest,
)
from service.states import Status

_TIMEOUT = httpx.Timeout(200.0, connect=10.0)  # a first request is checked for some seconds
_STREAM_TIMEOUT = httpx.Timeout(60.0, connect=10.0)  # the service says something more often
_RETRY_S = 0.5
Form = TypeVar("Form", bound=BaseModel)


class ServiceError(RuntimeError):
    """The service refused.

    Attributes:
        status: of the HTTP answer.
        detail: what it says: a text, or the faults of a request's fields.
    """

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        try:
            self.detail: Any = response.json()["detail"]
        except (ValueError, KeyError, TypeError):
            self.detail = response.text[:300]
        super().__init__(f"{self.status}: {self.detail}")


class StreamLost(RuntimeError):
    """The service could not be reached again in time."""


@dataclass(slots=True)
class _Reader:
    """Puts the lines of a stream together to events (HTML standard, 9.2.6).

    Attributes:
        last: id of the newest event.
        over: there will be no more.
        job: whose events they are; empty before the first answer.
    """

    last: int = 0
    over: bool = False
    job: str = ""
    _fields: dict[str, str] = field(default_factory=dict)

    def take(self, line: str) -> Event | None:
        """An event, if this line completes one that was not there before."""
        if line:
            name, _, value = line.partition(":")
            if name:
                self._fields[name] = value.removeprefix(" ")
            return None
        found, self._fields = self._fields, {}
        if "data" not in found:
            return None
        if "id" not in found:
            self.over = True  # the model was deleted
            return None
        data = json.loads(found["data"])
        event = Event(id=int(found["id"]), event=found["event"], at=data.pop("at"), data=data)
        if event.id <= self.last:
            return None
        self.last = event.id
        self.over = event.event == "status" and Status(event.data["status"]).ended
        return event

    def open(self, response: httpx.Response) -> None:
        self.job = _checked(response).headers["job-id"]

    def lost(self) -> None:
        """The connection broke: what was half read is sent again."""
        self._fields = {}


def _headers(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_error:
        raise ServiceError(response)
    return response


def _read(response: httpx.Response, form: type[Form]) -> Form:
    return form.model_validate_json(_checked(response).content)


def _train(request: TrainRequest) -> dict[str, Any]:
    return {"json": request.model_dump(mode="json", exclude_none=True)}


def _stream(project: str, model_name: str, reader: _Reader) -> dict[str, Any]:
    return {
        "method": "GET",
        "url": f"/train/{project}/{model_name}/stream",
        "params": {"job_id": reader.job} if reader.job else {},
        "headers": {"Last-Event-ID": str(reader.last), "Accept": "text/event-stream"},
        "timeout": _STREAM_TIMEOUT,
    }


class ServiceClient:
    """Every method raises ``ServiceError`` if the service refuses."""

    def __init__(self, base_url: str, token: str | None = None) -> None:
        self._http = httpx.Client(base_url=base_url, headers=_headers(token), timeout=_TIMEOUT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def train(self, request: TrainRequest) -> Accepted:
        return _read(self._http.post("/train", **_train(request)), Accepted)

    def status(self, project: str, model_name: str) -> JobStatus:
        return _read(self._http.get(f"/train/{project}/{model_name}/status"), JobStatus)

    def cancel(self, project: str, model_name: str) -> JobStatus:
        return _read(self._http.post(f"/train/{project}/{model_name}/cancel"), JobStatus)

    def models(self, limit: int = 100, offset: int = 0) -> ModelList:
        found = self._http.get("/models", params={"limit": limit, "offset": offset})
        return _read(found, ModelList)

    def model(self, project: str, model_name: str) -> ModelDetails:
        return _read(self._http.get(f"/models/{project}/{model_name}"), ModelDetails)

    def delete(self, project: str, model_name: str) -> None:
        _checked(self._http.delete(f"/models/{project}/{model_name}"))

    def health(self) -> Health:
        return _read(self._http.get("/health"), Health)

    def metrics(self) -> str:
        return _checked(self._http.get("/metrics")).text

    def stream(
        self, project: str, model_name: str, after: int = 0, patience_s: float = 60
    ) -> Iterator[Event]:
        """The events of the model's newest job after event ``after``, until it ends.

        Args:
            patience_s: how long to look for a service that is gone.

        Raises:
            StreamLost: it did not come back within that time.
        """
        reader, heard = _Reader(after), time.monotonic()
        while not reader.over:
            try:
                with self._http.stream(**_stream(project, model_name, reader)) as response:
                    if response.is_error:
                        response.read()
                    reader.open(response)
                    for line in response.iter_lines():
                        heard = time.monotonic()
                        if event := reader.take(line):
                            yield event
                if reader.over:
                    return
            except httpx.TransportError as error:
                if time.monotonic() - heard > patience_s:
                    raise StreamLost(f"the stream broke off: {error}") from error
            reader.lost()
            time.sleep(_RETRY_S)


class AsyncServiceClient:
    """The same with ``await``."""

    def __init__(self, base_url: str, token: str | None = None) -> None:
        self._http = httpx.AsyncClient(
            base_url=base_url,
            headers=_headers(token),
            timeout=_TIMEOUT,
            limits=httpx.Limits(max_connections=None),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def train(self, request: TrainRequest) -> Accepted:
        return _read(await self._http.post("/train", **_train(request)), Accepted)

    async def status(self, project: str, model_name: str) -> JobStatus:
        return _read(await self._http.get(f"/train/{project}/{model_name}/status"), JobStatus)

    async def cancel(self, project: str, model_name: str) -> JobStatus:
        return _read(await self._http.post(f"/train/{project}/{model_name}/cancel"), JobStatus)

    async def models(self, limit: int = 100, offset: int = 0) -> ModelList:
        found = await self._http.get("/models", params={"limit": limit, "offset": offset})
        return _read(found, ModelList)

    async def model(self, project: str, model_name: str) -> ModelDetails:
        return _read(await self._http.get(f"/models/{project}/{model_name}"), ModelDetails)

    async def delete(self, project: str, model_name: str) -> None:
        _checked(await self._http.delete(f"/models/{project}/{model_name}"))

    async def health(self) -> Health:
        return _read(await self._http.get("/health"), Health)

    async def metrics(self) -> str:
        return _checked(await self._http.get("/metrics")).text

    async def stream(
        self, project: str, model_name: str, after: int = 0, patience_s: float = 60
    ) -> AsyncIterator[Event]:
        """See ``ServiceClient.stream``."""
        reader, heard = _Reader(after), time.monotonic()
        while not reader.over:
            try:
                asked = self._http.stream(**_stream(project, model_name, reader))
                async with asked as response:
                    if response.is_error:
                        await response.aread()
                    reader.open(response)
                    async for line in response.aiter_lines():
                        heard = time.monotonic()
                        if event := reader.take(line):
                            yield event
                if reader.over:
                    return
            except httpx.TransportError as error:
                if time.monotonic() - heard > patience_s:
                    raise StreamLost(f"the stream broke off: {error}") from error
            reader.lost()
            await asyncio.sleep(_RETRY_S)
