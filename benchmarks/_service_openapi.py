"""Requests made from the service's OpenAPI description, right and wrong, and what they must bring."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import hypothesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from benchmarks.malformed import bodies, operations
from tests.fakes import judge_server as judges
from tests.fakes.example_server import ExampleServer, fresh
from tests.fakes.judge_server import JudgeServer
from tests.service.conftest import Service, occupied, request

_SAID = [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]
# Requests that are right, of each operation with a body.
GOOD: dict[str, dict[str, Any]] = {
    "/train": request("walked").model_dump(mode="json"),
    "/rollout": {"model_name": "walked", "task_prompt": "Add.", "num_rollouts": 2},
    "/evaluate": {
        "trajectories": [{"id": "a", "messages": _SAID}, {"messages": _SAID}],
        "judge_model": "openai/judge",
        "evaluation_prompt": "Is it right?",
    },
}
_TEXT = st.text(st.characters(codec=None), max_size=40)
_SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | _TEXT
_ANY = st.recursive(
    _SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3)
)
# Right but for what is drawn over it, so that most get past the first fault.
_FIELDS = [*{field: None for good in GOOD.values() for field in good}, "more"]
_CHANGES = st.fixed_dictionaries({}, optional=dict.fromkeys(_FIELDS, _ANY)).filter(
    lambda drawn: len(drawn) < 4
)
_ODD = ["none", "%2e%2e", "a%2fb", "%00", "ü", "x" * 99]
_PROJECTS = st.sampled_from(["default"] * len(_ODD) + _ODD)
_NAMES = st.sampled_from(["walked"] * len(_ODD) + _ODD)
_QUERY = st.dictionaries(st.sampled_from(["limit", "offset", "after", "x"]), _SCALAR, max_size=2)


@contextmanager
def walked(folder: Path) -> Iterator[Service]:
    """A service to send them to: its hosted models are on loopback, and its one place is taken, so
    that no job begins."""
    with (
        ExampleServer(fresh) as writer,
        JudgeServer(judges.good) as judge,
        occupied(folder),
    ):
        hosted = {"writer": {"model": "openai/writer", "api_base": writer.base_url}}
        service = Service(folder, hosted | {"judge": {"api_base": judge.base_url}}).start()
        try:
            yield service
        finally:
            service.close()


def check(description: dict[str, Any], method: str, path: str, response: httpx.Response) -> None:
    """
    Raises:
        AssertionError, ValidationError: the description of the operation has no such answer.
    """
    responses = description["paths"][path][method.lower()]["responses"]
    assert str(response.status_code) in responses, (response.status_code, response.text)
    assert response.status_code != 500
    content = responses[str(response.status_code)].get("content", {})
    kind = response.headers.get("content-type", "").partition(";")[0]
    if response.status_code == 204:
        return
    assert not kind or kind in content, (method, path, response.status_code, kind)
    if kind == "application/json":
        schema = content[kind]["schema"] | {"components": description["components"]}
        Draft202012Validator(schema).validate(response.json())


def check_answers(url: str, cases: int, seed: int) -> Counter[int]:
    """Send so many requests and check every answer. Returns: how many had which status."""
    chooser, statuses = random.Random(seed), Counter[int]()
    with httpx.Client(base_url=url, timeout=60) as http:
        description = http.get("/openapi.json").json()
        choices = operations(description)
        odd = bodies(cases, seed)

        @settings(
            max_examples=cases,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(_CHANGES, _PROJECTS, _NAMES, _QUERY)
        def walk(changes: Any, project: str, name: str, query: dict[str, Any]) -> None:
            method, path = chooser.choice(choices)
            target = path.replace("{project}", project).replace("{model_name}", name)
            good = GOOD.get(path, {})
            drawn = {field: v for field, v in changes.items() if field in good or field == "more"}
            body, headers = json.dumps(good | drawn).encode(), {}
            if chooser.random() < 0.3:
                body, headers = chooser.choice(odd)
            elif chooser.random() < 0.9:
                headers = {"content-type": "application/json"}
            shown = {key: json.dumps(value) for key, value in query.items()}
            sent = {"content": body, "headers": headers, "params": shown}
            with http.stream(method, target, **sent) as response:
                # The stream of a job that is not over does not end.
                if not response.headers.get("content-type", "").startswith("text/event-stream"):
                    response.read()
            statuses[response.status_code] += 1
            if response.status_code == 404 and not (project.isalpha() and name.isalpha()):
                return  # a path of no operation
            check(description, method, path, response)

        hypothesis.seed(seed)(walk)()
    assert statuses.total() == cases
    return statuses
