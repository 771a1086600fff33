"""Requests to the training service and parsers of its answers, shared by both clients."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import quote

import httpx
from httpx_sse import ServerSentEvent
from pydantic import BaseModel

from service.schemas import (
    DELETED,
    NO_MORE,
    Accepted,
    Event,
    Health,
    JobStatus,
    ModelDetails,
    ModelList,
    TrainRequest,
)
from service.states import Status

if TYPE_CHECKING:
    from service.hosted_schemas import (
        EvaluateAnswer,
        EvaluateRequest,
        RolloutAnswer,
        RolloutRequest,
    )

PATIENCE_S = 60.0
_STREAM_TIMEOUT = httpx.Timeout(60.0, connect=10.0)  # longer than the keep-alive interval
Form = TypeVar("Form", bound=BaseModel)
Answer = TypeVar("Answer")


class ServiceError(RuntimeError):
    """The service refused a request: ``status`` is the HTTP status, ``detail`` a message or a list of
    invalid fields."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        try:
            self.detail: Any = response.json()["detail"]
        except (ValueError, KeyError, TypeError):
            self.detail = response.text[:300]
        super().__init__(f"{self.status}: {self.detail}")


class StreamLost(RuntimeError):
    """Reconnecting to the service failed for too long."""


@dataclass(slots=True)
class Reader:
    """A client's position in the events of a job, across reconnects.

    Attributes:
        last: id of the newest event.
        over: no more events will come.
        job: id of the job; empty before the first response.
        patience_s: how long to try to reconnect.
    """

    last: int = 0
    job: str = ""
    patience_s: float = PATIENCE_S
    over: bool = False
    _lost_at: float | None = None

    def open(self, response: httpx.Response) -> bool:
        """Start reading a response. Returns whether events follow.

        Raises:
            ServiceError: the service refused.
        """
        self.over = _checked(response).status_code == NO_MORE
        self.job = response.headers["job-id"]
        self._lost_at = None
        return not self.over

    def take(self, sent: ServerSentEvent) -> Event | None:
        """The event, or None if it is a repeat or no event of the job."""
        if sent.event == DELETED:
            self.over = True
        # httpx-sse yields a comment as an event without data, under the last id.
        elif sent.data and int(sent.id) > self.last:
            data = sent.json()
            event = Event(id=int(sent.id), event=sent.event, at=data.pop("at"), data=data)
            self.last = event.id
            self.over = event.event == "status" and Status(event.data["status"]).ended
            return event
        return None

    def lost(self, error: httpx.TransportError) -> None:
        """Call when the connection fails.

        Raises:
            StreamLost: reconnecting has failed for ``patience_s`` seconds.
        """
        now = time.monotonic()
        self._lost_at = self._lost_at or now
        if now - self._lost_at > self.patience_s:
            raise StreamLost(f"the stream was lost: {error}") from error


@dataclass(frozen=True, slots=True)
class Call(Generic[Answer]):
    """A request, and the parser of its response."""

    method: str
    url: str
    read: Callable[[httpx.Response], Answer]
    params: dict[str, Any] | None = None
    body: BaseModel | None = None

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of ``httpx.Client.request``."""
        body = {"json": self.body.model_dump(mode="json")} if self.body else {}
        return {"method": self.method, "url": self.url, "params": self.params} | body


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_error:
        raise ServiceError(response)
    return response


def _form(form: type[Form]) -> Callable[[httpx.Response], Form]:
    return lambda response: form.model_validate_json(_checked(response).content)


def _nothing(response: httpx.Response) -> None:
    _checked(response)


def _of(project: str, model_name: str) -> str:
    return f"{quote(project, safe='')}/{quote(model_name, safe='')}"


def train(request: TrainRequest) -> Call[Accepted]:
    """Queue a job."""
    return Call("POST", "/train", _form(Accepted), body=request)


def status(project: str, model_name: str) -> Call[JobStatus]:
    """The status of the model's newest job."""
    return Call("GET", f"/train/{_of(project, model_name)}/status", _form(JobStatus))


def cancel(project: str, model_name: str) -> Call[JobStatus]:
    """Cancel the model's job; steps already trained are kept."""
    return Call("POST", f"/train/{_of(project, model_name)}/cancel", _form(JobStatus))


def models(limit: int = 100, offset: int = 0) -> Call[ModelList]:
    """All models, by project and name."""
    return Call("GET", "/models", _form(ModelList), {"limit": limit, "offset": offset})


def model(project: str, model_name: str) -> Call[ModelDetails]:
    """A model with its newest request and its jobs."""
    return Call("GET", f"/models/{_of(project, model_name)}", _form(ModelDetails))


def delete(project: str, model_name: str) -> Call[None]:
    """Delete a model with its jobs, checkpoints and data."""
    return Call("DELETE", f"/models/{_of(project, model_name)}", _nothing)


def rollout(request: RolloutRequest) -> Call[RolloutAnswer]:
    """Have the writer generate examples of a task."""
    from service.hosted_schemas import RolloutAnswer  # imports LiteLLM

    return Call("POST", "/rollout", _form(RolloutAnswer), body=request)


def evaluate(request: EvaluateRequest) -> Call[EvaluateAnswer]:
    """Have a judge score trajectories."""
    from service.hosted_schemas import EvaluateAnswer

    return Call("POST", "/evaluate", _form(EvaluateAnswer), body=request)


def health() -> Call[Health]:
    """Whether the service starts jobs, and what is configured."""
    return Call("GET", "/health", _form(Health))


def metrics() -> Call[str]:
    """Metrics in Prometheus' text format."""
    return Call("GET", "/metrics", lambda response: _checked(response).text)


def stream(project: str, model_name: str, reader: Reader) -> dict[str, Any]:
    return {
        "method": "GET",
        "url": f"/train/{_of(project, model_name)}/stream",
        "params": {"job_id": reader.job} if reader.job else {},
        "headers": {"Last-Event-ID": str(reader.last)},
        "timeout": _STREAM_TIMEOUT,
    }
