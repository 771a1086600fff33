"""The policy server's listener, whatever was done to asyncio, and its idle connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from backends import listener
from backends.listener import KEEP_ALIVE_S, Listener


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[str]:
    app = FastAPI()
    app.get("/")(lambda: "hello")
    port = free_port()
    served = Listener(app, "127.0.0.1", port)
    await served.start()
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        served.stop()


async def test_it_serves_where_asyncio_run_was_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """As nest_asyncio does it, without the argument that uvicorn passes on Python 3.12."""

    def run(main: Any, *, debug: bool = False) -> Any:
        raise AssertionError("asyncio.run was called")

    monkeypatch.setattr(asyncio, "run", run)
    monkeypatch.setattr("uvicorn.server.asyncio_run", run)
    async with listening() as url, httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(url)).json() == "hello"


async def idle_then_ask(url: str, idle_s: float) -> bool:
    """Whether a connection that was idle for so long still answers."""
    host, port = url.removeprefix("http://").rstrip("/").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for pause in (0.0, idle_s):
        await asyncio.sleep(pause)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        try:
            reply = await asyncio.wait_for(reader.read(1_000), 10)
        except ConnectionError:
            return False
        if b"hello" not in reply:
            return False
    writer.close()
    return True


async def test_an_idle_connection_is_kept_for_the_time_of_a_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert KEEP_ALIVE_S >= 3_600
    monkeypatch.setattr(listener, "KEEP_ALIVE_S", 1)
    async with listening() as url:
        assert not await idle_then_ask(url, 2.5)  # what the number is for
    monkeypatch.undo()
    async with listening() as url:
        assert await idle_then_ask(url, 2.5)
