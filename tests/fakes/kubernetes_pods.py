"""A Kubernetes API server on loopback whose pods run what is executed in them, as processes here.

Of the API it has pods and ``pods/exec`` over a WebSocket. A pod is a ``FakeContainer``; one that
breaks the schema of its kind is refused. Nulls are dropped first, as a server without strict field
validation drops them.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import socket
import struct
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import kubernetes_validate
import yaml

from tests.fakes.docker_sandboxes import FakeContainer, python_for_anyone

_ACCEPT = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
STDOUT, STDERR, STATUS = 1, 2, 3


class KubernetesPods:
    """Use as a context manager.

    Attributes:
        created: every pod there was.
        containers: those that are there, by name.
        refuses: answer the request for a pod with an error.
        loses: end the next commands' streams before anything is in them.
        executed: set when a command runs.
    """

    def __init__(self) -> None:
        self.created: list[dict[str, Any]] = []
        self.containers: dict[str, FakeContainer] = {}
        self.pods: dict[str, dict[str, Any]] = {}
        self.refuses = self.loses = False
        self.executed = threading.Event()
        self.connections: list[socket.socket] = []
        self._python = python_for_anyone()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    def write_kubeconfig(self, path: Path, context: str) -> None:
        url = f"http://127.0.0.1:{self._server.server_address[1]}"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": context,
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": context, "context": {"cluster": "c", "user": "u"}}],
        }
        path.write_text(yaml.safe_dump(config))

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        *_, name = path.split("/")
        if method == "POST" and name == "pods":
            return self._create(_without_nulls(body))
        if name not in self.pods:
            return 404, _failure(404, f"pods {name!r} not found")
        if method == "DELETE":
            container = self.containers.pop(name, None)
            del self.pods[name]
            if container:
                container.remove()
            return 200, {"kind": "Status", "apiVersion": "v1", "status": "Success"}
        running = name in self.containers
        return 200, self.pods[name] | {"status": {"phase": "Running" if running else "Failed"}}

    def _create(self, pod: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.refuses:
            return 403, _failure(403, "exceeded quota")
        try:
            kubernetes_validate.validate(pod, "1.32", strict=True)
        except kubernetes_validate.ValidationError as error:
            return 422, _failure(422, error.message)
        folder = Path(tempfile.mkdtemp(prefix="container-"))
        folder.chmod(0o777)
        (folder / "bin").mkdir()
        (folder / "bin" / "python").symlink_to(self._python)
        name = pod["metadata"]["name"]
        user = str(pod["spec"]["securityContext"]["runAsUser"])
        self.created.append(pod)
        self.pods[name] = pod
        self.containers[name] = FakeContainer(name, {"User": user}, folder)
        return 201, pod

    def execute(self, name: str, command: list[str], send: Any) -> None:
        """Send what the command writes, and how it ended, each with its channel."""
        if self.loses or name not in self.containers:
            return
        process = self.containers[name].start(command)
        self.executed.set()
        readers = [
            threading.Thread(target=_read, args=(stream, channel, send))
            for stream, channel in ((process.stdout, STDOUT), (process.stderr, STDERR))
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        code = process.wait()
        status: dict[str, Any] = {"status": "Success"}
        if code:
            cause = {"reason": "ExitCode", "message": str(code if code > 0 else 128 - code)}
            status = {
                "status": "Failure",
                "reason": "NonZeroExitCode",
                "details": {"causes": [cause]},
            }
        send(STATUS, json.dumps(status).encode())

    def stop(self) -> None:
        """The server goes, its pods stay."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        for connection in self.connections:
            with contextlib.suppress(OSError):  # closed by the other end
                connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        for container in self.containers.values():
            container.remove()


def _read(stream: Any, channel: int, send: Any) -> None:
    while data := os.read(stream.fileno(), 65536):
        send(channel, data)
    stream.close()


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(v) for key, v in value.items() if v is not None}
    return [_without_nulls(v) for v in value] if isinstance(value, list) else value


def _failure(code: int, message: str) -> dict[str, Any]:
    return {"kind": "Status", "status": "Failure", "message": message, "code": code}


def _frame(opcode: int, data: bytes) -> bytes:
    if len(data) < 126:
        head = struct.pack("!BB", 0x80 | opcode, len(data))
    elif len(data) < 2**16:
        head = struct.pack("!BBH", 0x80 | opcode, 126, len(data))
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 127, len(data))
    return head + data


def _handler(api: KubernetesPods) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            api.connections.append(self.connection)

        def _answer(self) -> None:
            url = urlsplit(self.path)
            if run := re.fullmatch(r"/api/v1/namespaces/[^/]+/pods/([^/]+)/exec", url.path):
                self._stream(run[1], parse_qs(url.query)["command"])
                return
            body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or "{}")
            status, answer = api.answer(self.command, url.path, body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _stream(self, name: str, command: list[str]) -> None:
            key = self.headers["Sec-WebSocket-Key"] + _ACCEPT
            accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
            self.send_response(101)
            self.send_header("upgrade", "websocket")
            self.send_header("connection", "Upgrade")
            self.send_header("sec-websocket-accept", accept)
            self.send_header("sec-websocket-protocol", "v4.channel.k8s.io")
            self.end_headers()
            self.close_connection = True
            lock = threading.Lock()

            def send(channel: int, data: bytes) -> None:
                with lock, contextlib.suppress(OSError):  # whoever listened is gone
                    self.wfile.write(_frame(2, bytes([channel]) + data))
                    self.wfile.flush()

            with contextlib.suppress(OSError):  # the pod, or whoever listened, is gone
                api.execute(name, command, send)
                self.wfile.write(_frame(8, struct.pack("!H", 1000)))

        do_GET = do_POST = do_DELETE = _answer

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name there)
            """Silent."""

    return Handler
