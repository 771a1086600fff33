"""The guard of an HTTP server: the size of a request, and the host name it is sent to."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from tests.deployment.conftest import PATIENCE_S, serve
from web.guard import MAX_BODY_BYTES, Guard, is_loopback


def app_of(local_only: bool) -> FastAPI:
    app = FastAPI()
    app.add_middleware(Guard, local_only=local_only)
    lengths: list[int] = []

    @app.get("/lengths")
    async def all_lengths() -> list[int]:
        return lengths

    @app.api_route("/length", methods=["GET", "POST"])
    async def length(request: Request) -> dict[str, int]:
        lengths.append(len(await request.body()))
        return {"length": lengths[-1]}

    @app.post("/echo")
    async def echo(request: Request) -> StreamingResponse:
        body = await request.body()

        async def pieces() -> Any:
            yield body
            yield b"" if await request.is_disconnected() else b" and still there"

        return StreamingResponse(pieces())

    return app


@pytest.fixture(scope="module", params=["h11", "httptools"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with serve(app_of(local_only=False), request.param) as url:
        yield url


@pytest.fixture(scope="module", params=["h11", "httptools"])
def local_url(request: pytest.FixtureRequest) -> Iterator[str]:
    with serve(app_of(local_only=True), request.param) as url:
        yield url


def in_chunks(size: int, chunk: int = 60_000) -> Iterator[bytes]:
    for start in range(0, size, chunk):
        yield b"x" * min(chunk, size - start)


def post(url: str, size: int, chunked: bool) -> httpx.Response:
    content: Any = in_chunks(size) if chunked else b"x" * size
    return httpx.post(f"{url}/length", content=content, timeout=PATIENCE_S, trust_env=False)


def raw(url: str, request: bytes) -> bytes:
    where = urlsplit(url)
    with closing(socket.create_connection((where.hostname, where.port), PATIENCE_S)) as sent:
        sent.sendall(request)
        return b"".join(iter(lambda: sent.recv(65_536), b""))


# Size


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [0, 1, 200_000, MAX_BODY_BYTES])
def test_a_body_within_the_bound_arrives_whole(url: str, size: int, chunked: bool) -> None:
    response = post(url, size, chunked)
    assert (response.status_code, response.json()) == (200, {"length": size})


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [MAX_BODY_BYTES + 1, 1_100_000])
def test_a_body_beyond_the_bound_is_refused(url: str, size: int, chunked: bool) -> None:
    response = post(url, size, chunked)
    assert response.status_code == 413
    assert response.json() == {"detail": "the request is larger than 1,048,576 bytes"}
    assert response.headers["connection"] == "close"


def test_a_body_without_end_is_not_waited_for(url: str) -> None:
    """The answer is there as soon as the bound is passed, before the body is."""
    where = urlsplit(url)
    with closing(socket.create_connection((where.hostname, where.port), PATIENCE_S)) as sent:
        sent.sendall(
            b"POST /length HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999999\r\n\r\n"
        )
        sent.sendall(b"x" * (MAX_BODY_BYTES + 1))
        assert sent.recv(12) == b"HTTP/1.1 413"


def test_half_a_body_of_a_client_that_hung_up_is_not_taken_for_a_whole(url: str) -> None:
    where = urlsplit(url)
    with closing(socket.create_connection((where.hostname, where.port), PATIENCE_S)) as sent:
        sent.sendall(b"POST /length HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n")
        sent.sendall(b"x" * 77)
    assert post(url, 5, chunked=False).json() == {"length": 5}
    lengths = httpx.get(f"{url}/lengths", trust_env=False).json()
    assert 5 in lengths
    assert 77 not in lengths


def test_a_request_without_a_body_passes(url: str) -> None:
    assert httpx.get(f"{url}/length", trust_env=False).json() == {"length": 0}


def test_what_is_behind_it_sees_the_body_once_and_whether_the_client_is_there(url: str) -> None:
    response = httpx.post(f"{url}/echo", content=b"hello", timeout=PATIENCE_S, trust_env=False)
    assert response.text == "hello and still there"


def test_one_connection_carries_request_after_request(url: str) -> None:
    with httpx.Client(base_url=url, trust_env=False) as client:
        for size in (3, 0, 70_000):
            response = client.post("/length", content=b"x" * size)
            assert response.json() == {"length": size}
            assert "connection" not in response.headers


# Name


def status(url: str, host: str | None, path: str = "/length") -> int:
    line = "" if host is None else f"Host: {host}\r\n"
    version = "1.0" if host is None else "1.1"
    request = f"GET {path} HTTP/{version}\r\n{line}Connection: close\r\n\r\n"
    return int(raw(url, request.encode()).split(b" ")[1])


OWN = [
    "localhost",
    "localhost:8000",
    "127.0.0.1",
    "127.0.0.1:8000",
    "127.8.9.1",
    "[::1]",
    "[::1]:80",
]
OTHERS = [
    "evil.example",
    "evil.example:8000",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "evil.example#localhost",
    "localhost:80@evil.example",
    "192.168.0.7",
    "0.0.0.0",
    "[::]",
    "[2001:db8::1]:8000",
    "",
]


@pytest.mark.parametrize("host", OWN)
def test_under_this_machines_own_name_it_answers(local_url: str, host: str) -> None:
    assert status(local_url, host) == 200


@pytest.mark.parametrize("host", OTHERS)
def test_under_another_name_it_does_not_answer(local_url: str, host: str) -> None:
    assert status(local_url, host) in (400, 421)


def test_the_refusal_says_why(local_url: str) -> None:
    response = httpx.post(
        f"{local_url}/length", content=b"x", headers={"host": "evil.example"}, trust_env=False
    )
    assert response.status_code == 421
    assert "requests to localhost only" in response.json()["detail"]


def test_without_a_name_it_does_not_answer(local_url: str) -> None:
    assert status(local_url, None) == 421


@pytest.mark.parametrize("path", ["/", "/nothing", "/docs", "/openapi.json"])
def test_no_path_is_left_open_to_another_name(local_url: str, path: str) -> None:
    assert status(local_url, "evil.example", path) == 421


@pytest.mark.parametrize("host", ["LOCALHOST", "Localhost:8000"])
def test_its_name_may_be_written_in_capitals(local_url: str, host: str) -> None:
    assert status(local_url, host) == 200


@pytest.mark.parametrize("host", ["evil.example", "192.168.0.7:8000"])
def test_a_server_with_a_key_answers_under_every_name(url: str, host: str) -> None:
    assert status(url, host) == 200


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("", False),
        ("mail.example", False),
        ("2130706433", False),
        ("0x7f000001", False),
        ("127.1", False),
    ],
)
def test_an_address_of_this_machine_only_is_told_from_others(host: str, own: bool) -> None:
    assert is_loopback(host) is own
