"""The state of the service in Prometheus' text format (version 0.0.4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from service import VERSION
from service.states import Status
from service.store import Store
from web.guard import Receive, Scope, Send

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Requests:
    """ASGI middleware that counts answers by their status."""

    def __init__(self, app: Any, counted: Counter[int]) -> None:
        self._app, self._counted = app, counted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def count(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                self._counted[message["status"]] += 1
            await send(message)

        await self._app(scope, receive, count)


def render(store: Store, requests: Mapping[int, int], streams: int) -> str:
    jobs = store.counts()
    lines = [
        *_metric("art_service_info", "gauge", "Always 1.", [({"version": VERSION}, 1)]),
        *_metric(
            "art_service_jobs",
            "gauge",
            "Jobs by status; those of deleted models do not count.",
            [({"status": str(status)}, n) for status, n in jobs.items()],
        ),
        *_metric(
            "art_service_queue_depth", "gauge", "Jobs that wait.", [({}, jobs[Status.QUEUED])]
        ),
        *_metric("art_service_models", "gauge", "Models.", [({}, store.models())]),
        *_metric(
            "art_service_steps", "gauge", "Training steps of all jobs.", [({}, store.steps())]
        ),
        *_metric(
            "art_service_changes_total", "counter", "Events and deletions.", [({}, store.seen())]
        ),
        *_metric("art_service_streams", "gauge", "Clients that follow a job.", [({}, streams)]),
        *_metric(
            "art_service_http_responses_total",
            "counter",
            "Answers since the service started.",
            [({"status": str(status)}, n) for status, n in sorted(requests.items())],
        ),
    ]
    return "\n".join(lines) + "\n"


def _metric(
    name: str, kind: str, what: str, samples: Iterable[tuple[Mapping[str, str], int]]
) -> list[str]:
    lines = [f"# HELP {name} {what}", f"# TYPE {name} {kind}"]
    for labels, value in samples:
        shown = ",".join(f'{key}="{label}"' for key, label in labels.items())
        lines.append(f"{name}{{{shown}}} {value}" if shown else f"{name} {value}")
    return lines
