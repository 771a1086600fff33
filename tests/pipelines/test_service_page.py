"""The page of a real deployment in a real browser: from an example to the mail behind the answer."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect, sync_playwright
from zenml.client import Client

from tests.pipelines.conftest import Finished, Project
from tests.pipelines.test_service import Service, start

NAME = "page-under-test"


@pytest.fixture(scope="module")
def service(project: Project, finished: Finished) -> Iterator[Service]:
    yield start(project, NAME, "deployment.port=18520")
    Client().deprovision_deployment(NAME)


@pytest.fixture
def page(service: Service) -> Iterator[Page]:
    with sync_playwright() as playwright:
        installed = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(
            executable_path=installed or playwright.chromium.executable_path, args=["--no-sandbox"]
        )
        page = browser.new_page()
        page.goto(service.url)
        yield page
        browser.close()


def test_an_example_is_answered_with_the_mail_it_stands_in(page: Page, service: Service) -> None:
    solved = [
        example
        for example in service.request("GET", "/examples").json()
        if service.ask(**example).json()["outputs"]["success"]
    ]
    assert solved
    outputs = service.ask(**solved[0]).json()["outputs"]
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(re.sub(r"(//[^/]+).*", r"\1", request.url)))

    page.get_by_role("button", name=re.compile(re.escape(solved[0]["question"]))).click()
    expect(page.get_by_role("heading", name="Answer")).to_be_visible(timeout=30_000)
    expect(page.get_by_text(outputs["answer"], exact=True).first).to_be_visible()
    source = page.locator("details").first
    source.locator("summary").click()
    expect(source.get_by_text(outputs["source_ids"][0])).to_be_visible()
    assert outputs["answer"] in " ".join(source.locator("mark").all_inner_texts())
    assert hosts == {service.url}


def test_an_unknown_inbox_is_told_beside_its_field(page: Page, service: Service) -> None:
    page.get_by_role("textbox", name="Question").fill("Who leads the team?")
    page.get_by_label("Inbox address").fill("nobody@nowhere.example")
    page.get_by_label("Date").fill("2001-12-31")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_label("Inbox address")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_text("there is no such inbox here")).to_be_visible()
