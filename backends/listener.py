"""An HTTP server in a thread of its own."""

from __future__ import annotations

import asyncio
import threading

import uvicorn
from fastapi import FastAPI

from backends.errors import BackendError


class Listener:
    """Serves an app until it is stopped."""

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        self._address = f"{host}:{port}"
        self._server = uvicorn.Server(
            uvicorn.Config(app, host=host, port=port, log_level="warning", access_log=False)
        )
        self._thread = threading.Thread(target=self._server.run, name="openai-server", daemon=True)

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
