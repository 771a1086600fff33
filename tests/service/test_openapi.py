"""Whatever is sent to the operations of the OpenAPI description, what comes back is in it."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from benchmarks.malformed import bodies, operations

from .conftest import Service, occupied, request

CASES = 250
GOOD = request("walked").model_dump(mode="json")
_TEXT = st.text(st.characters(codec=None), max_size=40)
_SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | _TEXT
_ANY = st.recursive(
    _SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3)
)
# Right but for what is drawn over it, so that most get past the first fault.
_CHANGES = st.fixed_dictionaries({}, optional=dict.fromkeys([*GOOD, "more"], _ANY)).filter(
    lambda drawn: len(drawn) < 4
)
_NAMES = st.sampled_from(["walked", "busy", "none", "%2e%2e", "a%2fb", "%00", "ü", "x" * 99])
_QUERY = st.dictionaries(st.sampled_from(["limit", "offset", "after", "x"]), _SCALAR, max_size=2)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("walked")
    with occupied(folder):
        service = Service(folder, {}).start()
        yield service
        service.close()


def check(description: dict[str, Any], method: str, path: str, response: httpx.Response) -> None:
    told = description["paths"][path][method.lower()]["responses"]
    assert str(response.status_code) in told, (response.status_code, response.text)
    assert response.status_code != 500
    content = told[str(response.status_code)].get("content", {})
    if response.headers.get("content-type") == "application/json":
        schema = content["application/json"]["schema"] | {"components": description["components"]}
        Draft202012Validator(schema).validate(response.json())


def test_answers_are_as_described(service: Service) -> None:
    chooser, statuses = random.Random(0), Counter[int]()
    with httpx.Client(base_url=service.url, timeout=60) as http:
        description = http.get("/openapi.json").json()
        found = [o for o in operations(description) if not o[1].endswith("/stream")]
        odd = bodies(CASES, 0)

        @settings(
            max_examples=CASES,
            database=None,
            deadline=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(_CHANGES, _NAMES, _NAMES, _QUERY)
        def walk(changes: Any, project: str, name: str, query: dict[str, Any]) -> None:
            method, path = chooser.choice(found)
            url = path.replace("{project}", project).replace("{model_name}", name)
            body, headers = json.dumps(GOOD | changes).encode(), {}
            if chooser.random() < 0.3:
                body, headers = chooser.choice(odd)
            elif chooser.random() < 0.9:
                headers = {"content-type": "application/json"}
            shown = {key: json.dumps(value) for key, value in query.items()}
            response = http.request(method, url, content=body, headers=headers, params=shown)
            statuses[response.status_code] += 1
            if response.status_code == 404 and not (project.isalpha() and name.isalpha()):
                return  # a path of no operation
            check(description, method, path, response)

        walk()
    assert statuses.total() == CASES
    assert {202, 404, 422} <= statuses.keys()


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
        for method, told in methods.items():
            assert told["summary"], (method, path)
            assert told["description"], (method, path)
            assert {"401", "422", "429", "503"} <= told["responses"].keys()
    stream = description["paths"]["/train/{project}/{model_name}/stream"]["get"]
    assert list(stream["responses"]["200"]["content"]) == ["text/event-stream"]


def test_the_documentation_is_there(service: Service) -> None:
    assert "swagger" in httpx.get(f"{service.url}/docs").text


def test_files_that_ship_hold_no_secret_and_no_path() -> None:
    for name in ("configs/service.yaml", ".env.example"):
        text = (Path(__file__).parents[2] / name).read_text()
        assert "/home/" not in text
        assert "sk-" not in text
