"""Runs HTTP servers, robust to a patched asyncio, optionally in a thread."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import uvicorn
from fastapi import FastAPI

from backends.errors import BackendError

# Longer than any training step, during which clients are idle.
KEEP_ALIVE_S = 3_600


def server_config(app: Any, **address: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_keep_alive=KEEP_ALIVE_S, **address
    )


def run_server(server: uvicorn.Server, sockets: list[socket.socket] | None = None) -> None:
    """Serve until the server exits. Unlike ``server.run()``, it avoids ``asyncio.run``, which a
    library may have patched."""
    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(server.serve(sockets=sockets))


class Listener:
    """Serves an app in a thread until it is stopped."""

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        self._address = f"{host}:{port}"
        config = server_config(app, host=host, port=port)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=run_server, args=(self._server,), name="policy-server", daemon=True
        )

    async def start(self) -> None:
        """
        Raises:
            BackendError: the server cannot listen on the address.
        """
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise BackendError(f"the policy server could not listen on {self._address}")
            await asyncio.sleep(0.02)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=10)
