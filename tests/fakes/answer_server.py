"""The service behind the web page with scripted answers: real HTTP, the real files of ``web/``.

with AnswerServer(stream(search("budget", hits=1), answer("May 3."))) as server:
    ...  # server.url, server.requests
"""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

WEB = Path(__file__).parents[2] / "web"
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
CHECKPOINT = {"model": "email-agent", "version": "1", "step": 150, "run": "demo", "mails": "9f2c"}

Piece = bytes | threading.Event


@dataclass(slots=True)
class Reply:
    """What is sent back, piece by piece, each in a chunk of its own; an event is waited for.

    Args:
        cut: hang up at the end as a connection that breaks does.
    """

    pieces: Sequence[Piece]
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "text/event-stream"
    cut: bool = False


def stream(*pieces: Piece, cut: bool = False) -> Reply:
    return Reply(pieces, cut=cut)


def says(content: object, status: int = 200, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply([json.dumps(content).encode()], status, named, "application/json")


def refuses(status: int, detail: object, **headers: str) -> Reply:
    return says({"detail": detail}, status, **headers)


def wrong(**messages: str) -> Reply:
    """Bad input, in FastAPI's words: a message for each field."""
    return refuses(
        422,
        [
            {"loc": ["body", "parameters", name], "msg": message, "type": "value_error"}
            for name, message in messages.items()
        ],
    )


def event(name: str, content: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(content, ensure_ascii=False)}\n\n".encode()


def search(*keywords: str, **changes: Any) -> bytes:
    filters = dict.fromkeys(("sender", "recipient", "sent_after", "sent_before"))
    return event("search", {"keywords": keywords} | filters | changes)


def read(message_id: str, subject: str | None = None) -> bytes:
    """A mail that was opened, or without a subject one that was not found."""
    opened = {"subject": subject, "sender": "ann@harbor.example", "date": "2001-05-03"}
    content = {"message_id": message_id, "found": subject is not None}
    return event("read", content | (opened if subject is not None else {}))


def mail(body: str, *marked: str, **changes: Any) -> dict[str, Any]:
    """A source. ``marked``: the words to mark, each where it first stands."""
    spans = sorted((body.index(words), body.index(words) + len(words)) for words in marked)
    return {
        "message_id": "<1.2@harbor.example>",
        "date": "2001-05-03",
        "sender": "ann@harbor.example",
        "to": ["bob@harbor.example"],
        "subject": "Budget",
        "body": body,
        "marks": spans,
    } | changes


def answer(text: str, *sources: dict[str, Any], **changes: Any) -> bytes:
    content = {
        "question": "q",
        "answer": text,
        "source_ids": [source["message_id"] for source in sources],
        "success": True,
        "reason": None,
        "turns": 3,
        "latency_ms": 212.4,
        "checkpoint": CHECKPOINT,
        "sources": sources,
    }
    return event("answer", content | changes)


def no_answer(text: str, reason: str) -> bytes:
    return answer(text, success=False, reason=reason)


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    owner: AnswerServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that hung up is part of many a test."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def do_GET(self) -> None:
        owner = self.server.owner
        path = self.path.removeprefix(owner.prefix)
        if path == "about":
            self.send(says(owner.about))
        elif path == "examples":
            self.send(self.without_key() or says(owner.examples))
        else:
            self.file(path or "index.html")

    def do_POST(self) -> None:
        owner = self.server.owner
        raw = self.rfile.read(int(self.headers["content-length"]))
        refused = self.without_key()
        with owner.lock:
            owner.requests.append(json.loads(raw)["parameters"])
            owner.headers.append({k.lower(): v for k, v in self.headers.items()})
            reply = refused or owner.next_reply()
        self.send(reply)

    def without_key(self) -> Reply | None:
        key = self.server.owner.key
        if key is None or self.headers["authorization"] == f"Bearer {key}":
            return None
        return refuses(401, "This is not the key.")

    def file(self, name: str) -> None:
        file = WEB / name
        if not file.is_file():
            self.send(refuses(404, "Not Found"))
            return
        headers = {"Content-Security-Policy": CSP, "X-Content-Type-Options": "nosniff"}
        self.send(Reply([file.read_bytes()], 200, headers, TYPES[file.suffix]))

    def send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        self.send_header("content-type", reply.content_type)
        self.send_header("transfer-encoding", "chunked")
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        for data in self.due(reply.pieces):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
            if len(reply.pieces) > 1:
                time.sleep(0.001)  # so that the browser sees the pieces one by one
        self.close_connection = reply.cut
        if not reply.cut:
            self.wfile.write(b"0\r\n\r\n")

    def due(self, pieces: Sequence[Piece]) -> Iterator[bytes]:
        """The pieces as their turn comes; nothing more once the browser has hung up."""
        for piece in pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            while not piece.wait(0.005):
                if self.hung_up():
                    self.server.owner.hung_up.set()
                    return

    def hung_up(self) -> bool:
        # Not select(), which refuses file descriptors beyond 1,023: a whole run of tests gets there.
        waiting = select.poll()
        waiting.register(self.connection, select.POLLIN)
        return bool(waiting.poll(0)) and not self.connection.recv(1, socket.MSG_PEEK)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name there)
        """Silent."""


class AnswerServer:
    """Gives its replies one question at a time, the last one to all further questions.

    ``requests`` and ``headers`` hold what was asked; ``hung_up`` is set once a browser left in
    the middle of an answer.
    """

    def __init__(
        self,
        *replies: Reply,
        examples: Sequence[dict[str, str]] = (),
        key: str | None = None,
        prefix: str = "/",
    ) -> None:
        self.examples, self.key, self.prefix = examples, key, prefix
        self.requests: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.hung_up = threading.Event()
        self.lock = threading.Lock()
        self._replies = list(replies)
        self._listener = _Listener(("127.0.0.1", 0), _Handler)
        self._listener.owner = self
        self._thread = threading.Thread(
            target=self._listener.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.server_address[1]}{self.prefix}"

    @property
    def about(self) -> dict[str, Any]:
        return {
            "deployment": "my-email-agent",
            "key_required": self.key is not None,
            "checkpoint": CHECKPOINT,
        }

    def next_reply(self) -> Reply:
        return self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]

    def close(self) -> None:
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
