"""Whatever is sent to the operations of the OpenAPI description, what comes back is in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks._service_openapi import check_answers, walked
from benchmarks.malformed import operations

from .conftest import Service

CASES = 250  # all 5,000: python -m benchmarks.service --cases 5000


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with walked(tmp_path_factory.mktemp("walked")) as service:
        yield service


def test_answers_are_as_described(service: Service) -> None:
    statuses = check_answers(service.url, CASES, seed=0)
    assert {200, 202, 204, 404, 409, 422} <= statuses.keys()


def test_every_operation_says_what_it_answers(service: Service) -> None:
    description = httpx.get(f"{service.url}/openapi.json").json()
    assert {path for _, path in operations(description)} == {
        "/evaluate",
        "/health",
        "/metrics",
        "/models",
        "/models/{project}/{model_name}",
        "/rollout",
        "/train",
        "/train/{project}/{model_name}/cancel",
        "/train/{project}/{model_name}/status",
        "/train/{project}/{model_name}/stream",
    }
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], (method, path)
            assert operation["description"], (method, path)
            assert {"401", "422", "429", "503"} <= operation["responses"].keys()
            for refusal in ("401", "422", "429", "503"):
                assert list(operation["responses"][refusal]["content"]) == ["application/json"]
    stream = description["paths"]["/train/{project}/{model_name}/stream"]["get"]
    assert list(stream["responses"]["200"]["content"]) == ["text/event-stream"]


def test_the_documentation_is_there(service: Service) -> None:
    assert "swagger" in httpx.get(f"{service.url}/docs").text


def test_files_that_ship_hold_no_secret_and_no_path() -> None:
    for name in ("configs/service.yaml", ".env.example"):
        text = (Path(__file__).parents[2] / name).read_text()
        assert "/home/" not in text
        assert "sk-" not in text
