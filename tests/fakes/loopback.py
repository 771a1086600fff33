"""An HTTP server on loopback, in threads of its own: what the stand-ins for the world share."""

from __future__ import annotations

import json
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass(slots=True)
class Response:
    """What is sent back. A ``body`` that is neither text nor bytes is sent as JSON.

    Args:
        gate: send nothing before this is set.
        hangs: send nothing before the server closes.
    """

    body: object
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    gate: threading.Event | None = None
    hangs: bool = False


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    owner: LoopbackServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is part of many a test."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def do_POST(self) -> None:
        self._serve("POST")

    def do_GET(self) -> None:
        self._serve("GET")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def _serve(self, method: str) -> None:
        owner = self.server.owner
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        with owner.lock:
            request = json.loads(raw or b"{}")
            owner.requests.append(request)
            owner.headers.append({k.lower(): v for k, v in self.headers.items()})
            response = owner.answer(method, self.path, request)
        if response.gate:
            response.gate.wait()
        if response.hangs:
            owner.closing.wait()
        body = response.body
        if not isinstance(body, bytes):
            body = (body if isinstance(body, str) else json.dumps(body)).encode()
        data = body
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("content-type", response.content_type)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name there)
        """Silent."""


class LoopbackServer(ABC):
    """Use as a context manager. ``requests`` and ``headers`` hold what was asked, in order;
    names of headers are in lower case."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self._listener = _Listener(("127.0.0.1", 0), _Handler)
        self._listener.owner = self
        self._thread = threading.Thread(
            target=self._listener.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    @abstractmethod
    def respond(self, request: dict[str, Any]) -> Response:
        """The answer to a request; one at a time."""

    def answer(self, method: str, path: str, request: dict[str, Any]) -> Response:
        """The same for servers whose answer depends on more than the request's body."""
        return self.respond(request)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._listener.server_address[1]}/v1"

    def close(self) -> None:
        self.closing.set()
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
