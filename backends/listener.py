"""HTTP servers: run where asyncio may be patched, or in a thread of their own."""

from __future__ import annotations

import asyncio
import socket
import threading

import uvicorn
from fastapi import FastAPI

from backends.errors import BackendError

# Of an idle connection: longer than any training step, in which the client asks nothing.
KEEP_ALIVE_S = 3_600


def run_server(server: uvicorn.Server, sockets: list[socket.socket] | None = None) -> None:
    """Serve until the server is told to exit.

    Not ``server.run()``, which goes through ``asyncio.run``: a library may have replaced that.
    """
    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(server.serve(sockets=sockets))


class Listener:
    """Serves an app in a thread until it is stopped."""

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        self._address = f"{host}:{port}"
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            log_level="warning",
            access_log=False,
            timeout_keep_alive=KEEP_ALIVE_S,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=run_server, args=(self._server,), name="policy-server", daemon=True
        )

    async def start(self) -> None:
        """
        Raises:
            BackendError: it cannot listen there.
        """
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise BackendError(f"the policy server could not listen on {self._address}")
            await asyncio.sleep(0.02)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=10)
