"""A job's events as server-sent events, from any of them on.

What happens is written by worker processes, so it has to be looked for. One task of the service looks
whether anything is new; only then do the streams read, each what its client has not seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from service.store import NoSuchJob, Store
from web.guard import server_sent

_LOOK_EVERY_S = 0.2
_PAGE = 200
_HEARTBEAT = b": still at work\n\n"
DELETED = "deleted"


class TooManyStreams(RuntimeError):
    """As many clients follow jobs as may."""


class Feed:
    """Wakes the streams when there are new events. Used on one event loop."""

    def __init__(self, store: Store, limit: int) -> None:
        self._store, self._limit = store, limit
        self._news = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._ended = False
        self.open = 0

    def check(self) -> None:
        """
        Raises:
            TooManyStreams: another one may not be opened.
        """
        if self.open >= self._limit:
            raise TooManyStreams(f"{self._limit} clients follow jobs already")

    async def events(self, job: str, after: int, heartbeat_s: float) -> AsyncIterator[bytes]:
        """What happened to a job after event ``after``, and then what happens; ends with the job.

        A client that comes back says the last id it has seen and misses nothing. An event
        ``deleted`` without an id ends the stream of a job that is deleted.
        """
        self.open += 1
        try:
            if self._watching is None:
                self._watching = asyncio.create_task(self._watch())
            while True:
                news = self._news  # before reading: what comes meanwhile is not missed
                found = self._store.events(job, after, _PAGE)
                for event in found:
                    yield server_sent(event.event, event.data | {"at": event.at}, event.id)
                    after = event.id
                if len(found) == _PAGE:
                    continue
                try:
                    ended = self._store.job(job).status.ended
                except NoSuchJob:
                    yield server_sent(DELETED, {})
                    return
                if ended and after >= self._store.last_event_id(job):
                    return
                if self._ended:
                    return
                if not ended and not await _set_within(news, heartbeat_s):
                    yield _HEARTBEAT
        finally:
            self.open -= 1

    async def _watch(self) -> None:
        seen = self._store.seen()
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            if not self.open:
                continue
            now = self._store.seen()
            if now != seen:
                seen = now
                self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def end(self) -> None:
        """End all streams: the service ends, and clients come back to the next one."""
        self._ended = True
        self._wake()
        if self._watching:
            self._watching.cancel()


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True


def resume_at(last_event_id: str | None) -> int:
    """The id after which a client wants to go on; 0, the beginning, where it names none."""
    text = (last_event_id or "").strip()
    if text.isascii() and text.isdigit() and len(text) <= len(str(2**53)):
        return int(text)
    return 0
