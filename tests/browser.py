"""A real browser for the tests of pages, and what must not happen in it unseen."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# What the browser itself says of a refused or a lost request, whatever the page does about it.
EXPECTED = r"Failed to load resource: (net::ERR_|.*status of ({statuses}))"
STATUSES = "401|413|422|503"


@contextmanager
def chromium(patience_ms: int = 5000) -> Iterator[Browser]:
    """While it is up, its event loop counts as running, and no other test could start one.

    Args:
        patience_ms: for everything that is expected of its pages.
    """
    expect.set_options(timeout=patience_ms)
    with sync_playwright() as playwright:
        executable = next(
            filter(None, map(shutil.which, BROWSERS)), playwright.chromium.executable_path
        )
        if not Path(executable).exists():
            pytest.fail(
                "The tests of the web pages drive a real browser, and none of "
                f"{', '.join(BROWSERS)} is on the PATH. On Debian or Ubuntu: apt-get install "
                "chromium. Elsewhere: .venv/bin/playwright install chromium",
                pytrace=False,
            )
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


def watch(page: Page, trouble: list[str], statuses: str = STATUSES) -> None:
    """Notes what goes wrong in a page without being seen: errors, dialogs, requests to other hosts.

    Args:
        statuses: of answers that a page may get, as a pattern.
    """
    expected = re.compile(EXPECTED.format(statuses=statuses))

    def said(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not expected.match(message.text):
            trouble.append(message.text)

    def requested(request: Request) -> None:
        if urlsplit(request.url).hostname not in {"127.0.0.1", None}:
            trouble.append(request.url)

    page.on("console", said)
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("request", requested)
    page.on("dialog", lambda dialog: (trouble.append(dialog.message), dialog.dismiss()))


OVERFLOWS = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
# Texts and edges that hardly stand out from what is behind them; it fails
# itself where it finds less than ``leastEdges`` edges.
PALE = """
(leastEdges) => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = channels(colour).map((c) => c / 255)
      .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    const { backgroundColor } = getComputedStyle(element);
    return channels(backgroundColor)[3] === 0 ? behind(element.parentElement) : backgroundColor;
  };
  const contrast = (one, other) => {
    const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const shown = [...document.body.querySelectorAll("*")].filter((e) => e.checkVisibility());
  const written = shown.filter((element) =>
    [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
  const text = written.map((e) => [e, getComputedStyle(e).color, behind(e), 4.5]);
  const edges = shown.filter((e) => e.matches("input, textarea"))
    .map((e) => [e, getComputedStyle(e).borderTopColor, behind(e.parentElement), 3]);
  if (text.length < 10 || edges.length < (leastEdges ?? 3)) throw new Error("nothing was measured");
  return [...text, ...edges]
    .filter(([, colour, back, least]) => contrast(colour, back) < least)
    .map(([e, colour, back]) => `${e.tagName} ${e.className}: ${colour} on ${back}`);
}
"""
