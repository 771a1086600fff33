"""Prometheus metrics of the training service."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from service import VERSION
from service.states import Status
from service.store import Store
from service.stream import Feed
from web.guard import Receive, Scope, Send


class Metrics(Collector):
    """Reads the database when scraped. ``responses`` counts HTTP responses by status."""

    def __init__(self, store: Store, feed: Feed) -> None:
        self._store, self._feed = store, feed
        self.responses: Counter[int] = Counter()

    def collect(self) -> Iterator[Metric]:
        counts = self._store.counts()
        info = GaugeMetricFamily("art_service_info", "Always 1.", labels=["version"])
        info.add_metric([VERSION], 1)
        jobs = GaugeMetricFamily("art_service_jobs", "Jobs of all models.", labels=["status"])
        for status, count in counts.items():
            jobs.add_metric([status], count)
        responses = CounterMetricFamily(
            "art_service_http_responses", "HTTP responses since the start.", labels=["status"]
        )
        for code, count in sorted(self.responses.items()):
            responses.add_metric([str(code)], count)
        yield from (info, jobs, responses)
        for name, what, value in (
            ("queue_depth", "Queued jobs.", counts[Status.QUEUED]),
            ("models", "Models.", self._store.models()),
            ("steps", "Training steps of all jobs.", self._store.steps()),
            ("streams", "Open event streams.", self._feed.open),
        ):
            yield GaugeMetricFamily(f"art_service_{name}", what, value)
        yield CounterMetricFamily(
            "art_service_changes", "Events and deletions.", self._store.changes()
        )


class CountResponses:
    """ASGI middleware that counts responses by HTTP status."""

    def __init__(self, app: Any, responses: Counter[int]) -> None:
        self._app, self._responses = app, responses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def count(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                self._responses[message["status"]] += 1
            await send(message)

        await self._app(scope, receive, count)
