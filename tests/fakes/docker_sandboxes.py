"""A Docker daemon on loopback whose containers run what is executed in them, as processes here.

Not isolated ones: a container has a folder of its own, which is also its ``/tmp``, its user where
the tests run as root, and no network to be tested. The programs in it are those of the tests.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

NOBODY = 65534


def python_for_anyone() -> str:
    """A Python that a user without rights may run as well."""
    for python in (sys.executable, "/usr/bin/python3"):
        who = {"user": NOBODY} if os.geteuid() == 0 else {}
        try:
            if subprocess.run([python, "-c", ""], **who).returncode == 0:
                return python
        except OSError:
            continue
    raise AssertionError("no Python that a user without rights may run")


@dataclass
class FakeContainer:
    """A container, with the body of its ``docker create``."""

    id: str
    created: dict[str, Any]
    folder: Path
    processes: list[subprocess.Popen] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    removed: bool = False

    def start(self, command: list[str]) -> subprocess.Popen:
        """
        Raises:
            OSError: it was removed.
        """
        with self.lock:
            if self.removed:
                raise OSError("no such container")
            return self._start(command)

    def _start(self, command: list[str]) -> subprocess.Popen:
        command = [re.sub(r"^/tmp/", f"{self.folder}/", part) for part in command]
        user = int((self.created.get("User") or "0").split(":")[0])
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env={"PATH": f"{self.folder}/bin:/usr/bin:/bin", "TMPDIR": str(self.folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            **({"user": user, "group": user} if user and os.geteuid() == 0 else {}),
        )
        self.processes.append(process)
        return process

    def inside(self) -> dict[int, bytes]:
        """The command lines of what runs in it, by process."""
        ours = {process.pid for process in self.processes if process.poll() is None}
        commands: dict[int, bytes] = {}
        # In order of age, so that a parent is known before its children.
        for entry in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
            with contextlib.suppress(OSError):  # ended meanwhile
                pid, state, parent = _stat(entry)
                if pid in ours or parent in ours or self._lives_here(entry):
                    ours.add(pid)
                    if state != "Z":
                        commands[pid] = (entry / "cmdline").read_bytes()
        return commands

    def _lives_here(self, entry: Path) -> bool:
        try:
            return (entry / "cwd").readlink().is_relative_to(self.folder)
        except OSError:  # not ours to look at
            return False

    def remove(self) -> None:
        with self.lock:
            self.removed = True
        for process in self.processes:
            process.kill()
        while inside := self.inside():
            for pid in inside:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.01)
        for process in self.processes:
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def _stat(entry: Path) -> tuple[int, str, int]:
    state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
    return int(entry.name), state, int(parent)


class DockerSandboxes:
    """Use as a context manager.

    Attributes:
        created: every container there was, by the body of its ``docker create``.
        containers: those that are there.
        refuses: answer ``docker create`` with an error.
        loses: end the next commands' output before anything is in it, and remove the container.
        executed: set when a command runs.
    """

    def __init__(self) -> None:
        self.created: list[dict[str, Any]] = []
        self.containers: dict[str, FakeContainer] = {}
        self.refuses = self.loses = False
        self.executed = threading.Event()
        self.connections: list[socket.socket] = []
        self._commands: dict[str, tuple[FakeContainer, list[str]]] = {}
        self._codes: dict[str, int | None] = {}
        self._lock = threading.Lock()
        self._python = python_for_anyone()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    @property
    def address(self) -> str:
        """For ``DOCKER_HOST``."""
        return f"tcp://127.0.0.1:{self._server.server_address[1]}"

    def answer(
        self, method: str, path: str, query: dict[str, list[str]], body: dict[str, Any]
    ) -> tuple[int, dict[str, Any]]:
        kind, *rest = path.strip("/").split("/")
        if kind in {"version", "_ping"}:
            return 200, {"Version": "28.0.0", "ApiVersion": "1.47", "MinAPIVersion": "1.24"}
        if kind == "images":
            return 200, {"Id": "sha256:0", "RepoTags": ["/".join(rest[:-1])]}
        if kind == "exec":
            return 200, {"Running": False, "ExitCode": self._codes[rest[0]]}
        if kind != "containers":
            return 404, {"message": f"no such thing: {path}"}
        if rest == ["create"]:
            return self._create(body)
        container = self.containers.get(rest[0])
        if container is None:
            return 404, {"message": f"No such container: {rest[0]}"}
        if method == "DELETE":
            del self.containers[container.id]
            container.remove()
            return 204, {}
        if rest[1:] == ["exec"]:
            key = uuid.uuid4().hex
            self._commands[key] = (container, body["Cmd"])
            return 201, {"Id": key}
        return 200, {"Id": container.id, "Name": container.id, "State": {"Status": "running"}}

    def _create(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.refuses:
            return 500, {"message": "no space left on device"}
        folder = Path(tempfile.mkdtemp(prefix="container-"))
        folder.chmod(0o777)
        (folder / "bin").mkdir()
        (folder / "bin" / "python").symlink_to(self._python)
        container = FakeContainer(uuid.uuid4().hex, body, folder)
        with self._lock:
            self.created.append(body)
            self.containers[container.id] = container
        return 201, {"Id": container.id}

    def execute(self, key: str, out: Any) -> None:
        """Write what the command writes, in Docker's frames."""
        container, command = self._commands.pop(key)
        if self.loses:
            self._codes[key] = 0
            return
        # docker-py reads the rest of the headers' packet as headers: what comes must come later.
        time.sleep(0.05)
        process = container.start(command)
        self.executed.set()
        lock = threading.Lock()
        assert process.stdout
        assert process.stderr
        threads = [
            threading.Thread(target=_copy, args=(stream, number, out, lock))
            for number, stream in ((1, process.stdout), (2, process.stderr))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        code = process.wait()
        self._codes[key] = code if code >= 0 else 128 - code

    def stop(self) -> None:
        """The daemon goes, its containers stay."""
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


def _copy(stream: Any, number: int, out: Any, lock: threading.Lock) -> None:
    while data := os.read(stream.fileno(), 65536):
        with lock:
            out.write(struct.pack(">BxxxL", number, len(data)) + data)
            out.flush()
    stream.close()


def _handler(daemon: DockerSandboxes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            daemon.connections.append(self.connection)

        def _answer(self) -> None:
            url = urlsplit(self.path)
            path = re.sub(r"^/v\d+\.\d+/", "/", unquote(url.path))
            body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or "{}")
            if started := re.fullmatch(r"/exec/(\w+)/start", path):
                self._stream(started[1])
                return
            status, answer = daemon.answer(self.command, path, parse_qs(url.query), body)
            data = b"" if status == 204 else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _stream(self, key: str) -> None:
            self.send_response(200)
            self.send_header("content-type", "application/vnd.docker.multiplexed-stream")
            self.send_header("connection", "close")
            self.end_headers()
            self.wfile.flush()
            self.close_connection = True
            try:
                daemon.execute(key, self.wfile)
            except OSError:
                return  # whoever listened is gone

        do_GET = do_POST = do_DELETE = do_HEAD = _answer

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name there)
            """Silent."""

    return Handler
