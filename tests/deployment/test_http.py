"""A deployment over real HTTP: the page, the stream, and the answers to a caller's mistakes."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from sse_starlette import EventSourceResponse

from deployment import http as page_http
from deployment.answer import Answer
from deployment.http import WEB, add_error_answers, add_page, answer_stream, drain_on_sigterm
from environment.base import StrictModel
from environment.email_search.answering import NOTHING_FOUND, Question
from tests.environment.email_search.builders import ANN, BOB, EVE
from tests.fakes.chat_server import by_turn, fails, late, says
from web.guard import Guard
from web.page import CONTENT_SECURITY_POLICY

from .conftest import (
    CHECKPOINT,
    LOOK,
    OPEN,
    PAGER_BODY,
    PATIENCE_S,
    TELL,
    Desk,
    OpenDesk,
    desks,
    in_time,
    question,
    serve,
    until,
)

ASKED = {"parameters": question().model_dump()}
SECRET_FAULT = "the password is swordfish"


class Asked(StrictModel):
    parameters: Question


class Broken(BaseModel):
    text: str


def app_of(desk: Desk) -> FastAPI:
    app = FastAPI()
    add_page(app)
    add_error_answers(app)
    app.add_middleware(Guard)

    @app.post("/ask")
    async def ask(body: Asked) -> Answer:
        return (await desk.answerer.answer(body.parameters)).answer

    @app.post("/stream")
    async def stream(body: Asked) -> EventSourceResponse:
        desk.answerer.check(body.parameters)
        return answer_stream(desk.answerer, body.parameters)

    @app.post("/broken")
    async def broken(text: Broken) -> None:
        raise RuntimeError(f"{SECRET_FAULT}: {text.text}")

    return app


class Site:
    """A desk behind HTTP."""

    def __init__(self, desk: Desk, url: str) -> None:
        self.desk, self.url = desk, url
        self.client = httpx.Client(base_url=url, timeout=PATIENCE_S, trust_env=False)

    def post(self, path: str, content: Any, **headers: str) -> httpx.Response:
        """``content`` as JSON; text and bytes as they are."""
        raw = content if isinstance(content, (str, bytes)) else json.dumps(content)
        named = {"content-type": "application/json"} | headers
        return self.client.post(path, content=raw, headers=named)

    def ask(self, path: str = "/ask", **changes: Any) -> httpx.Response:
        return self.post(path, {"parameters": ASKED["parameters"] | changes})

    def stream(self) -> Any:
        return self.client.stream("POST", "/stream", json=ASKED)


OpenSite = Callable[..., Site]


@contextmanager
def sites(open_desk: OpenDesk) -> Iterator[OpenSite]:
    with ExitStack() as opened:

        def open_site(*scripts: Any) -> Site:
            desk = open_desk(*scripts)
            site = Site(desk, opened.enter_context(serve(app_of(desk))))
            opened.callback(site.client.close)
            return site

        yield open_site


@pytest.fixture
def open_site(open_desk: OpenDesk) -> Iterator[OpenSite]:
    with sites(open_desk) as open_site:
        yield open_site


@pytest.fixture
def site(open_site: OpenSite) -> Site:
    return open_site(by_turn(LOOK, OPEN, TELL))


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """For tests that leave it as it was."""
    with desks(tmp_path_factory.mktemp("shared")) as open_desk, sites(open_desk) as open_site:
        yield open_site(by_turn(LOOK, OPEN, TELL))


@pytest.fixture
def unasked_site(shared_site: Site) -> Iterator[Site]:
    """For tests in which nothing comes through to the model."""
    before = len(shared_site.desk.server.requests)
    yield shared_site
    assert len(shared_site.desk.server.requests) == before


def parsed(text: str) -> list[tuple[str, Any]]:
    """The events of a stream by name, and its comments under no name."""
    blocks = text.split("\n\n")
    assert blocks.pop() == ""
    events: list[tuple[str, Any]] = []
    for block in blocks:
        if block.startswith(":"):
            events.append(("", block))
            continue
        name, data = block.split("\n")
        events.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return events


# The stream


def test_a_stream_tells_what_the_agent_does_and_ends_with_the_answer(site: Site) -> None:
    response = site.ask("/stream")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    search, read, answer = parsed(response.text)
    assert (search[0], search[1]["keywords"], search[1]["hits"]) == ("search", ["pager"], 1)
    opened = {"message_id": "<1@x>", "found": True}
    shown = {"subject": "New pager", "sender": BOB, "date": "2001-05-14"}
    assert read == ("read", opened | shown)
    name, content = answer
    (source,) = content.pop("sources")
    assert name == "answer"
    assert Answer.model_validate(content).success
    assert content["checkpoint"] == CHECKPOINT.model_dump()
    assert (source["message_id"], source["to"], source["body"]) == ("<1@x>", [ANN, EVE], PAGER_BODY)
    assert [PAGER_BODY[start:end] for start, end in source["marks"]] == ["pager", "555-1234"]
    assert source.keys() == {"message_id", "date", "sender", "to", "subject", "body", "marks"}


def test_a_stream_without_an_answer_ends_with_the_reason(open_site: OpenSite) -> None:
    (answer,) = parsed(open_site(says("Well.")).ask("/stream").text)
    assert answer[0] == "answer"
    assert (answer[1]["success"], answer[1]["answer"]) == (False, NOTHING_FOUND)
    assert (answer[1]["source_ids"], answer[1]["sources"]) == ([], [])
    assert "without giving an answer" in answer[1]["reason"]


def test_an_event_is_sent_as_it_happens(open_site: OpenSite) -> None:
    gate = threading.Event()
    site = open_site(LOOK, late(TELL, gate))
    with site.stream() as response:
        lines = response.iter_lines()
        assert next(lines) == "event: search"
        assert not site.desk.inboxes.idle(0)
        gate.set()
        assert [line for line in lines if line.startswith("event:")] == ["event: answer"]


def test_a_stream_with_nothing_to_tell_is_kept_alive(
    open_site: OpenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_http, "_KEEP_ALIVE_S", 0.05)
    gate = threading.Event()
    site = open_site(LOOK, late(TELL, gate))
    seen = ""
    with site.stream() as response:
        for text in response.iter_text():
            seen += text
            if seen.count(": still at work\n\n") >= 3:
                gate.set()
    kinds = [name for name, _ in parsed(seen)]
    assert kinds.count("") >= 3
    assert [name for name in kinds if name] == ["search", "answer"]


def test_a_client_that_hangs_up_stops_its_agent(open_site: OpenSite) -> None:
    gate = threading.Event()
    site = open_site(LOOK, late(OPEN, gate), TELL)
    with site.stream() as response:
        lines = response.iter_lines()
        assert next(lines) == "event: search"
        site.desk.until_asked(2)
        assert not site.desk.inboxes.closed
    assert site.desk.inboxes.idle()
    gate.set()
    assert site.ask().json()["turns"] == 1
    assert len(site.desk.server.requests) == 3


def test_a_client_that_hangs_up_before_the_first_event_stops_its_agent(
    open_site: OpenSite,
) -> None:
    gate = threading.Event()
    site = open_site(late(LOOK, gate), TELL)
    with site.stream():
        site.desk.until_asked(1)
    assert site.desk.inboxes.idle()
    gate.set()
    assert len(site.desk.server.requests) == 1


def test_a_model_that_fails_in_the_middle_ends_the_stream_with_an_error(
    open_site: OpenSite,
) -> None:
    events = parsed(open_site(LOOK, fails(500)).ask("/stream").text)
    assert [name for name, _ in events] == ["search", "error"]
    assert events[1][1] == {"message": "the model server failed"}


def test_a_deployment_that_shuts_down_tells_the_clients_it_breaks_off(open_site: OpenSite) -> None:
    gate = threading.Event()
    site = open_site(LOOK, late(TELL, gate))
    with site.stream() as response:
        site.desk.until_asked(2)
        site.desk.answerer.drain(0.1)
        events = parsed(response.read().decode())
    gate.set()
    assert [name for name, _ in events] == ["search", "error"]
    assert "shut down" in events[1][1]["message"]


def test_an_unforeseen_fault_ends_the_stream_with_an_error_that_says_nothing_of_it(
    site: Site,
) -> None:
    site.desk.inboxes.fault = RuntimeError(SECRET_FAULT)
    (error,) = parsed(site.ask("/stream").text)
    assert error[0] == "error"
    assert "swordfish" not in error[1]["message"]


def test_text_that_would_end_an_event_does_not(open_site: OpenSite) -> None:
    from environment.email_search.tools import SEARCH
    from tests.fakes.chat_server import calls

    odd = "a\n\nevent: answer\r\ndata: {}\u2028 😀"
    events = parsed(open_site(calls((SEARCH, {"keywords": [odd]})), TELL).ask("/stream").text)
    assert [name for name, _ in events] == ["search", "answer"]
    assert events[0][1]["keywords"] == [odd]


# Mistakes


def details(response: httpx.Response, status: int = 422) -> list[dict[str, Any]]:
    """The details of a refusal, none of which holds what was sent."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    errors = response.json()["detail"]
    assert all(each.keys() == {"loc", "msg", "type"} for each in errors)
    assert all(isinstance(part, str) for each in errors for part in each["loc"])
    assert len(response.content) < 6_000
    return errors


PARAMETERS = ["body", "parameters"]


@pytest.mark.parametrize("path", ["/ask", "/stream"])
@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"question": " "}, "question", "must not be empty"),
        ({"question": "x" * 2_001}, "question", "String should have at most 2000 characters"),
        ({"question": float("nan")}, "question", "Input should be a valid string"),
        ({"question": float("inf")}, "question", "Input should be a valid string"),
        ({"question": ["?"]}, "question", "Input should be a valid string"),
        ({"question": "\ud800"}, "question", "Input should be a valid string"),
        ({"query_date": "2001-02-30"}, "query_date", "'2001-02-30' is not a day of the calendar"),
        ({"inbox": ANN}, "inbox", "Extra inputs are not permitted"),
        ({"x" * 5_000: 1}, "x" * 80, "Extra inputs are not permitted"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_a_field_that_is_wrong_is_named(
    unasked_site: Site, path: str, changes: dict[str, Any], field: str, message: str
) -> None:
    (error,) = details(unasked_site.ask(path, **changes))
    assert error["loc"] == [*PARAMETERS, field]
    assert error["msg"].startswith(message)


def test_many_mistakes_are_named_up_to_a_bound(unasked_site: Site) -> None:
    errors = details(unasked_site.ask(**{f"field{n}": n for n in range(50)}))
    assert len(errors) == 10


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "[1, 2]",
        '"text"',
        "7",
        "null",
        "NaN",
        "{}",
        '{"parameters": null}',
        '{"parameters": []}',
        '{"parameters": NaN}',
        '{"parameters": {}}',
        '{"parameters": {"\\ud800": 1}}',
        '{"\\ud800": 1}',
        '{"parameters": {"question": "\\udfff\\ud800"}}',
        "",
        "{",
        "{'parameters': 1}",
        "parameters=1",
        "\ufeff{}",
        '{"parameters": ' + "[" * 900 + "]" * 900 + "}",
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_a_body_of_another_shape_is_refused_without_being_sent_back(
    unasked_site: Site, content: str
) -> None:
    for path in ("/ask", "/stream"):
        response = unasked_site.post(path, content)
        if response.status_code != 400:
            assert details(response)


@pytest.mark.parametrize(
    "content",
    [
        "[" * 400_000,
        '{"parameters":' * 50_000,
        "[" * 200_000 + "]" * 200_000,
        '{"parameters": ' + "9" * 5_000 + "}",
        b"\xff\xfe\xff",
        b'{"parameters": "\xff"}',
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_a_body_that_cannot_be_read_is_refused_as_a_mistake_of_the_caller(
    unasked_site: Site, content: Any
) -> None:
    response = unasked_site.post("/ask", content)
    assert response.status_code in (400, 422), response.text
    assert len(response.content) < 1_000


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "x"])
def test_a_body_of_another_type_is_refused(unasked_site: Site, kind: str) -> None:
    (error,) = details(unasked_site.post("/ask", ASKED, **{"content-type": kind}))
    assert error["loc"] == ["body"]
    assert "pager" not in error["msg"]


@pytest.mark.parametrize("path", ["/ask", "/stream"])
@pytest.mark.parametrize("address", ["nobody@x.com", "nobody\u0000@x.com", "%@x.com"])
def test_an_unknown_inbox_is_a_wrong_field_and_nothing_is_said_of_others(
    unasked_site: Site, path: str, address: str
) -> None:
    response = unasked_site.ask(path, inbox_address=address)
    (error,) = details(response)
    assert error == {
        "loc": [*PARAMETERS, "inbox_address"],
        "msg": "there is no such inbox here",
        "type": "unknown_inbox",
    }
    for known in (ANN, BOB, EVE):
        assert known not in response.text


def test_a_method_or_a_path_that_is_not_there_is_said(unasked_site: Site) -> None:
    assert unasked_site.client.get("/ask").status_code == 405
    assert unasked_site.client.get("/nothing").status_code == 404


# Failures


def test_a_model_that_fails_is_a_503_that_says_when_to_try_again(open_site: OpenSite) -> None:
    response = open_site(fails(500)).ask()
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    assert response.json() == {"detail": "the model server failed"}


@pytest.mark.parametrize("path", ["/ask", "/stream"])
def test_a_deployment_that_shuts_down_answers_503(site: Site, path: str) -> None:
    site.desk.answerer.drain(PATIENCE_S)
    until(lambda: not site.desk.answerer.healthy)
    response = site.ask(path)
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    assert response.json() == {"detail": "the deployment is shutting down"}


def test_an_unforeseen_fault_is_a_500_that_says_nothing_of_it(site: Site) -> None:
    response = site.post("/broken", {"text": "my own words"})
    assert response.status_code == 500
    assert response.json() == {"detail": "the server failed; its log says why"}


def test_a_fault_of_the_agent_is_a_500_that_says_nothing_of_it(site: Site) -> None:
    site.desk.inboxes.fault = RuntimeError(SECRET_FAULT)
    response = site.ask()
    assert response.status_code == 500
    assert "swordfish" not in response.text
    site.desk.inboxes.fault = None
    assert httpx.post(f"{site.url}/ask", json=ASKED, trust_env=False).json()["success"]


def test_after_a_fault_the_client_is_told_that_its_connection_ends(site: Site) -> None:
    assert site.post("/broken", {"text": ""}).headers["connection"] == "close"


# The end


def test_a_deployment_closes_while_a_client_streams(open_site: OpenSite) -> None:
    gate = threading.Event()
    site = open_site(LOOK, late(TELL, gate))
    with site.stream() as response:
        site.desk.until_asked(2)
        assert in_time(site.desk.answerer.close)
        assert [name for name, _ in parsed(response.read().decode())] == ["search", "error"]
    gate.set()


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The signals that came through to the handler of SIGTERM that was there."""
    monkeypatch.setattr(page_http, "_LINGER_S", 0.1)
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    yield seen
    signal.signal(signal.SIGTERM, before)


def test_after_sigterm_those_in_flight_finish_before_the_server_hears_of_it(
    open_site: OpenSite, reached: list[int]
) -> None:
    gate = threading.Event()
    site = open_site(LOOK, late(TELL, gate))
    drain_on_sigterm(site.desk.answerer, PATIENCE_S)
    with site.stream() as response:
        site.desk.until_asked(2)
        os.kill(os.getpid(), signal.SIGTERM)
        until(lambda: not site.desk.answerer.healthy)
        time.sleep(0.3)
        assert site.ask().status_code == 503
        assert reached == []
        gate.set()
        assert [name for name, _ in parsed(response.read().decode())] == ["search", "answer"]
    until(lambda: reached == [signal.SIGTERM])


def test_after_sigterm_the_server_hears_of_it_at_the_end_of_the_grace(
    open_site: OpenSite, reached: list[int]
) -> None:
    gate = threading.Event()
    site = open_site(late(LOOK, gate), TELL)
    drain_on_sigterm(site.desk.answerer, 0.2)
    with site.stream() as response:
        site.desk.until_asked(1)
        os.kill(os.getpid(), signal.SIGTERM)
        assert [name for name, _ in parsed(response.read().decode())] == ["error"]
    until(lambda: reached == [signal.SIGTERM])
    gate.set()


def test_after_sigterm_an_idle_deployment_does_not_wait_for_the_grace(
    open_site: OpenSite, reached: list[int]
) -> None:
    site = open_site(TELL)
    drain_on_sigterm(site.desk.answerer, 10 * PATIENCE_S)
    os.kill(os.getpid(), signal.SIGTERM)
    until(lambda: reached == [signal.SIGTERM])
    assert site.ask().status_code == 503


@pytest.mark.usefixtures("reached")
def test_where_nobody_waits_for_sigterm_it_drains_all_the_same(open_site: OpenSite) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    site = open_site(TELL)
    drain_on_sigterm(site.desk.answerer, PATIENCE_S)
    os.kill(os.getpid(), signal.SIGTERM)
    until(lambda: not site.desk.answerer.healthy)


# The page


class Links(HTMLParser):
    """What a page loads."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        wanted = {"link": "href", "script": "src", "img": "src"}.get(tag)
        self.urls += [value for name, value in attrs if name == wanted and value]


TYPES = {
    "js": ("text/javascript", "application/javascript"),
    "css": ("text/css",),
    "svg": ("image/svg+xml",),
}


def test_the_page_is_served_with_all_that_it_loads(shared_site: Site) -> None:
    page = shared_site.client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.text == (WEB / "index.html").read_text()
    links = Links(page.text).urls
    assert links
    for link in links:
        response = shared_site.client.get(f"/{link}")
        assert response.status_code == 200
        assert urlsplit(link).netloc == ""


@pytest.mark.parametrize("name", sorted(file.name for file in (WEB / "assets").iterdir()))
def test_every_asset_has_its_type(shared_site: Site, name: str) -> None:
    response = shared_site.client.get(f"/assets/{name}")
    assert response.status_code == 200
    kind = response.headers["content-type"].split(";")[0]
    assert kind in TYPES[name.rpartition(".")[2]]
    assert response.content == (WEB / "assets" / name).read_bytes()


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../index.html",
        "/assets/%2e%2e/index.html",
        "/assets/..%2f..%2fpyproject.toml",
        "/assets/....//....//pyproject.toml",
        "/assets//etc/passwd",
        "/assets/%00",
        "/assets/",
    ],
)
def test_nothing_beside_the_assets_is_served(shared_site: Site, path: str) -> None:
    # Over a plain socket: a client would tidy the path.
    where = urlsplit(shared_site.url)
    with closing(socket.create_connection((where.hostname, where.port), PATIENCE_S)) as sent:
        sent.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        )
        answer = b"".join(iter(lambda: sent.recv(65_536), b""))
    assert re.match(rb"HTTP/1.1 4\d\d ", answer)
    assert b"<html" not in answer
    assert b"[project]" not in answer


def test_the_page_may_load_and_reach_its_own_server_only() -> None:
    policy = dict(part.split(" ", 1) for part in CONTENT_SECURITY_POLICY.split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    page = (WEB / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=", page)
