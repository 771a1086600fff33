"""Stream the events of a job, from any event on.

Worker processes write events to the database, so the training service polls it: one task does, and
wakes the streams, each of which then reads the events that its client lacks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import anyio
from fastapi import Response
from sse_starlette import ServerSentEvent

from service.schemas import DELETED, NO_MORE
from service.store import NoSuchJob, Store
from web.events import event_stream, server_sent

_POLL_S = 0.2
_PAGE = 200


class TooManyStreams(RuntimeError):
    """Too many streams are open."""


class Feed:
    """Opens streams and wakes them on new events. For use on one event loop."""

    def __init__(self, store: Store, limit: int, keep_alive_s: float) -> None:
        self._store, self._limit, self._keep_alive_s = store, limit, keep_alive_s
        self._news = asyncio.Event()
        self._closing = anyio.Event()
        self._polling: asyncio.Task[None] | None = None
        self.open = 0

    def stream(self, job: str, after: int) -> Response:
        """The events of a job with an id above ``after``, until the job ends. If it is deleted, the
        stream ends with an event ``deleted``, which has no id.

        Raises:
            TooManyStreams: see there.
        """
        if self.open >= self._limit:
            raise TooManyStreams(f"{self._limit} streams are open already")
        headers = {"Job-Id": job}
        if self._is_over(job, after):
            return Response(status_code=NO_MORE, headers=headers)
        return event_stream(self._events(job, after), self._keep_alive_s, self._closing, headers)

    def _is_over(self, job: str, after: int) -> bool:
        """Raises ``NoSuchJob`` if it was deleted."""
        return self._store.job(job).status.ended and after >= self._store.last_event_id(job)

    async def _events(self, job: str, after: int) -> AsyncIterator[ServerSentEvent]:
        self.open += 1
        try:
            self._polling = self._polling or asyncio.create_task(self._poll())
            while not self._closing.is_set():
                news = self._news  # taken before reading, so that no event is missed
                page = self._store.events(job, after, _PAGE)
                for event in page:
                    yield server_sent(event.event, event.data | {"at": event.at}, event.id)
                    after = event.id
                if len(page) == _PAGE:
                    continue
                if self._is_over(job, after):
                    return
                await news.wait()
        except NoSuchJob:
            yield server_sent(DELETED, {})
        finally:
            self.open -= 1

    async def _poll(self) -> None:
        last = self._store.changes()
        while True:
            await asyncio.sleep(_POLL_S)
            now = self._store.changes() if self.open else last
            if now != last or self._closing.is_set():
                last = now
                self._news.set()
                self._news = asyncio.Event()


def resume_at(last_event_id: str | None) -> int:
    """The id in a ``Last-Event-ID`` header; 0, the beginning, if it is missing or invalid."""
    text = (last_event_id or "").strip()
    if text.isascii() and text.isdigit() and len(text) <= len(str(2**53)):
        return int(text)
    return 0
