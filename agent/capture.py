"""Records the raw replies of the model server.

LangChain drops the token ids of a reply. So the HTTP client records each reply's whole body for the
current rollout, on any server that reports token ids (ours, and vLLM with ``return_token_ids``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import httpx

_bodies: ContextVar[list[dict[str, Any]] | None] = ContextVar("recorded_bodies", default=None)


@contextmanager
def recording() -> Iterator[list[dict[str, Any]]]:
    """Collect the bodies of successful replies in the current context, in order."""
    bodies: list[dict[str, Any]] = []
    token = _bodies.set(bodies)
    try:
        yield bodies
    finally:
        _bodies.reset(token)


async def _record(response: httpx.Response) -> None:
    bodies = _bodies.get()
    is_json = response.headers.get("content-type", "").startswith("application/json")
    if bodies is not None and is_json and response.is_success:
        await response.aread()
        bodies.append(response.json())


def recording_client(
    timeout_s: float, connections: int, transport: httpx.AsyncBaseTransport | None = None
) -> httpx.AsyncClient:
    """An HTTP client for ``ChatOpenAI`` that records inside ``recording()``."""
    return httpx.AsyncClient(
        timeout=timeout_s,
        transport=transport,
        limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
        event_hooks={"response": [_record]},
    )
