"""The web page in a real browser, before a server with scripted answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import chromium, watch
from tests.fakes.answer_server import AnswerServer, Reply

Serve = Callable[..., AnswerServer]
Visit = Callable[..., Page]

QUESTION = {
    "question": "When is the budget due?",
    "inbox_address": "bob@harbor.example",
    "query_date": "2001-12-31",
}
EXAMPLES = (QUESTION, QUESTION | {"question": "Who chairs the safety review?"})


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One for all tests here, gone after them."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as opened:

        def serve(*replies: Reply, **settings: Any) -> AnswerServer:
            return opened.enter_context(AnswerServer(*replies, **settings))

        yield serve


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Opens the page of a server in a browser that has seen nothing before. Whatever goes wrong
    in it without being seen fails the test: errors, dialogs, requests to other hosts."""
    trouble: list[str] = []
    with ExitStack() as opened:

        def visit(server: AnswerServer, clock: bool = False, **settings: Any) -> Page:
            context = browser.new_context(**{"reduced_motion": "reduce"} | settings)
            opened.callback(context.close)
            page = context.new_page()
            watch(page, trouble)
            if clock:
                page.clock.install()
            page.goto(server.url)
            expect(page.locator("#about")).to_be_visible()
            return page

        yield visit
    assert trouble == []


def fill(page: Page, **changes: str) -> None:
    for name, value in (QUESTION | changes).items():
        page.locator(f"#{name}").fill(value)


def ask(page: Page, **changes: str) -> None:
    """Asks as a person does: fills in the form and presses the button."""
    fill(page, **changes)
    page.get_by_role("button", name="Ask", exact=True).click()
