"""The web page in a real browser, in front of a service that plays scripted answers."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.fakes.answer_server import AnswerServer, Reply

Serve = Callable[..., AnswerServer]
Visit = Callable[..., Page]

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUESTION = {
    "question": "When is the budget due?",
    "inbox_address": "bob@harbor.example",
    "query_date": "2001-12-31",
}
EXAMPLES = (QUESTION, QUESTION | {"question": "Who chairs the safety review?"})
# What the browser itself says of a refused or a lost request, whatever the page does about it.
EXPECTED = re.compile(r"Failed to load resource: (net::ERR_|.*status of (401|413|422|503))")


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One for all tests here, gone after them: while it is up, its event loop counts as running,
    and no other test could start one."""
    expect.set_options(timeout=5000)
    with sync_playwright() as playwright:
        found = next(filter(None, map(shutil.which, BROWSERS)), playwright.chromium.executable_path)
        if not Path(found).exists():
            pytest.fail(
                "The tests of the web page drive a real browser, and none of "
                f"{', '.join(BROWSERS)} is on the PATH. On Debian or Ubuntu: apt-get install "
                "chromium. Elsewhere: .venv/bin/playwright install chromium",
                pytrace=False,
            )
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


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


def watch(page: Page, trouble: list[str]) -> None:
    def said(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not EXPECTED.match(message.text):
            trouble.append(message.text)

    def asked(request: Request) -> None:
        if urlsplit(request.url).hostname not in {"127.0.0.1", None}:
            trouble.append(request.url)

    page.on("console", said)
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("request", asked)
    page.on("dialog", lambda dialog: (trouble.append(dialog.message), dialog.dismiss()))


def fill(page: Page, **changes: str) -> None:
    for name, value in (QUESTION | changes).items():
        page.locator(f"#{name}").fill(value)


def ask(page: Page, **changes: str) -> None:
    """Asks as a person does: fills in the form and presses the button."""
    fill(page, **changes)
    page.get_by_role("button", name="Ask", exact=True).click()
