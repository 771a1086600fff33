"""Requests made from the service's OpenAPI description, right and wrong, and what they must bring."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import httpx
import hypothesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from benchmarks.malformed import bodies, operations
from tests.service.conftest import request

# A request that is right; other operations with a body are sent the same, and say what is wrong.
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


def check(description: dict[str, Any], method: str, path: str, response: httpx.Response) -> None:
    """
    Raises:
        AssertionError, ValidationError: the description of the operation has no such answer.
    """
    told = description["paths"][path][method.lower()]["responses"]
    assert str(response.status_code) in told, (response.status_code, response.text)
    assert response.status_code != 500
    content = told[str(response.status_code)].get("content", {})
    kind = response.headers.get("content-type", "").partition(";")[0]
    if kind == "application/json":
        schema = content[kind]["schema"] | {"components": description["components"]}
        Draft202012Validator(schema).validate(response.json())
    elif response.content:
        assert kind in content, kind


def check_answers(url: str, cases: int, seed: int) -> Counter[int]:
    """Send so many requests and check every answer. Returns: how many had which status."""
    chooser, statuses = random.Random(seed), Counter[int]()
    with httpx.Client(base_url=url, timeout=60) as http:
        description = http.get("/openapi.json").json()
        # A stream of a job that is not over does not end.
        found = [o for o in operations(description) if not o[1].endswith("/stream")]
        odd = bodies(cases, seed)

        @settings(
            max_examples=cases,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(_CHANGES, _NAMES, _NAMES, _QUERY)
        def walk(changes: Any, project: str, name: str, query: dict[str, Any]) -> None:
            method, path = chooser.choice(found)
            target = path.replace("{project}", project).replace("{model_name}", name)
            body, headers = json.dumps(GOOD | changes).encode(), {}
            if chooser.random() < 0.3:
                body, headers = chooser.choice(odd)
            elif chooser.random() < 0.9:
                headers = {"content-type": "application/json"}
            shown = {key: json.dumps(value) for key, value in query.items()}
            response = http.request(method, target, content=body, headers=headers, params=shown)
            statuses[response.status_code] += 1
            if response.status_code == 404 and not (project.isalpha() and name.isalpha()):
                return  # a path of no operation
            check(description, method, path, response)

        hypothesis.seed(seed)(walk)()
    assert statuses.total() == cases
    return statuses
