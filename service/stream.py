"""A job's events, streamed from any of them on.

Worker processes write the events into the database, so the training service has to poll. One task
does, and wakes the streams when there is something new; each then reads what its client lacks.
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
    """The limit of open streams is reached."""


class Feed:
    """Opens streams and wakes them when there are new events. Used on one event loop."""

    def __init__(self, store: Store, limit: int, keep_alive_s: float) -> None:
        self._store, self._limit, self._keep_alive_s = store, limit, keep_alive_s
        self._news = asyncio.Event()
        self._closing = anyio.Event()
        self._polling: asyncio.Task[None] | None = None
        self.open = 0

    def stream(self, job: str, after: int) -> Response:
        """The events of a job with an id above ``after``, until the job ends; then the stream does.

        A client that reconnects sends the last id it saw and misses nothing. When a job is deleted,
        its stream ends with an event ``deleted``, which has no id.

        Raises:
            TooManyStreams: the limit is reached.
        """
        if self.open >= self._limit:
            raise TooManyStreams(f"{self._limit} clients follow jobs already")
        headers = {"Job-Id": job}
        if self._is_over(job, after):
            return Response(status_code=NO_MORE, headers=headers)
        return event_stream(self._events(job, after), self._keep_alive_s, self._closing, headers)

    def _is_over(self, job: str, after: int) -> bool:
        """
        Raises:
            NoSuchJob: it was deleted.
        """
        return self._store.job(job).status.ended and after >= self._store.last_event_id(job)

    async def _events(self, job: str, after: int) -> AsyncIterator[ServerSentEvent]:
        self.open += 1
        try:
            self._polling = self._polling or asyncio.create_task(self._poll())
            while not self._closing.is_set():
                news = self._news  # before reading, so that nothing written meanwhile is missed
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
        seen = self._store.seen()
        while True:
            await asyncio.sleep(_POLL_S)
            now = self._store.seen() if self.open else seen
            if now != seen or self._closing.is_set():
                seen = now
                self._news.set()
                self._news = asyncio.Event()


def resume_at(last_event_id: str | None) -> int:
    """The id to resume after; 0, the beginning, if the client names none that makes sense."""
    text = (last_event_id or "").strip()
    if text.isascii() and text.isdigit() and len(text) <= len(str(2**53)):
        return int(text)
    return 0
