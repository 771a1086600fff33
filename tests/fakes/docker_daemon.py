"""A Docker daemon on loopback that builds, pushes and starts nothing, and keeps what it was sent.

A container that was started is healthy: its published port is the daemon's own, where ``/health``
answers.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(frozen=True, slots=True)
class Build:
    """An image that was to be built.

    Args:
        files: the build context, by path.
    """

    tag: str
    files: dict[str, bytes]

    @property
    def dockerfile(self) -> str:
        return self.files["Dockerfile"].decode()


class DockerDaemon:
    """Use as a context manager. ``containers`` are the bodies of ``docker create``, by name."""

    def __init__(self) -> None:
        self.builds: list[Build] = []
        self.pushed: list[str] = []
        self.containers: dict[str, dict[str, Any]] = {}
        self._states: dict[str, str] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def address(self) -> str:
        """For ``DOCKER_HOST``."""
        return f"tcp://127.0.0.1:{self.port}"

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: bytes) -> Any:
        """What is sent back: lists as streams of JSON lines, None as 404."""
        kind, *rest = path.strip("/").split("/")
        if kind == "images":
            return self._image("/".join(rest[:-1]), rest[-1], query)
        if kind == "containers":
            return self._container(method, rest, query, body)
        if kind == "build":
            self.builds.append(Build(query["t"][0], _files(body)))
            return [{"stream": "built"}]
        about = {"Version": "28.0.0", "ApiVersion": "1.47", "MinAPIVersion": "1.24"}
        return about if kind in {"version", "_ping", "health"} else None

    def _image(self, name: str, verb: str, query: dict[str, list[str]]) -> Any:
        if verb == "push":
            self.pushed.append(f"{name}:{query['tag'][0]}")
            return [{"aux": {"Digest": _digest(name)}}]
        return {"Id": _digest(name), "RepoTags": [name], "RepoDigests": []}

    def _container(
        self, method: str, path: list[str], query: dict[str, list[str]], body: bytes
    ) -> dict[str, Any] | None:
        name, verb = query["name"][0] if path == ["create"] else path[0], path[-1]
        if verb == "create":
            self.containers[name] = json.loads(body)
        elif name not in self._states:
            return None
        after = {"create": "created", "start": "running", "stop": "exited"}
        if verb in after:
            self._states[name] = after[verb]
        shown = self._shown(name)
        if method == "DELETE":
            del self._states[name]
        return shown

    def _shown(self, name: str) -> dict[str, Any]:
        published = {"8000/tcp": [{"HostIp": "0.0.0.0", "HostPort": str(self.port)}]}
        return {
            "Id": name,
            "Name": f"/{name}",
            "Image": _digest(self.containers[name]["Image"]),
            "State": {"Status": self._states[name]},
            "NetworkSettings": {"Ports": published},
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _files(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        opened = ((member.name, tar.extractfile(member)) for member in tar if member.isfile())
        return {name: file.read() for name, file in opened if file}


def _digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _handler(daemon: DockerDaemon) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            url = urlsplit(self.path)
            path = re.sub(r"^/v\d+\.\d+/", "/", unquote(url.path))
            answer = daemon.answer(self.command, path, parse_qs(url.query), self._body())
            self.send_response(404 if answer is None else 200)
            self.send_header("content-type", "application/json")
            if isinstance(answer, list):
                self._stream(answer)
                return
            data = json.dumps(answer or {"message": f"no such thing: {path}"}).encode()
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _stream(self, lines: list[dict[str, Any]]) -> None:
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for data in [*(json.dumps(line).encode() + b"\r\n" for line in lines), b""]:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

        def _body(self) -> bytes:
            if self.headers.get("transfer-encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("content-length") or 0))
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)

        do_GET = do_POST = do_DELETE = do_HEAD = _answer

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name there)
            """Silent."""

    return Handler
