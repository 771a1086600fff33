"""Server-sent events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from anyio import Event
from sse_starlette import EventSourceResponse, ServerSentEvent

MEDIA_TYPE = "text/event-stream"
_LINE_END = "\n"
_GRACE_S = 5.0


def server_sent(name: str, data: Any, id_: int | None = None) -> ServerSentEvent:
    """An event. A client that reconnects sends the last ``id_`` it received."""
    # json.dumps writes ASCII: callers' text may contain surrogates, which UTF-8 cannot encode.
    number = None if id_ is None else str(id_)
    return ServerSentEvent(json.dumps(data), event=name, id=number, sep=_LINE_END)


def event_stream(
    events: AsyncIterator[ServerSentEvent],
    keep_alive_s: float,
    closing: Event | None = None,
    headers: Mapping[str, str] | None = None,
) -> EventSourceResponse:
    """Sends events as they come, and a comment every ``keep_alive_s`` seconds.

    Args:
        closing: set at shutdown; ``events`` then gets a few seconds to end before the connection is
            closed.
    """
    return EventSourceResponse(
        events,
        headers=headers,
        ping=keep_alive_s,
        ping_message_factory=lambda: ServerSentEvent(comment="still at work", sep=_LINE_END),
        shutdown_event=closing,
        shutdown_grace_period=_GRACE_S,
    )
