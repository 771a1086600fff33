"""Malformed requests against a deployed agent: none may be answered with a 500.

    python -m benchmarks.malformed --name my-email-agent --requests 10000

Reads the service's OpenAPI description and sends to each of its operations what Hypothesis makes of
it: values of other types, missing, repeated and unknown fields, broken JSON, bytes that are no
text, odd headers and queries.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import hypothesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

_TEXT = st.text(st.characters(codec=None), max_size=40)
_SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | _TEXT
_ANY = st.recursive(
    _SCALAR, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4)
)
_DATE = st.sampled_from(["2001-12-31", "2001-02-30", "0000-00-00", "9999-99-99", "2001-1-1", ""])
_FIELD = _ANY | _DATE | st.just("x" * 100_000)
_PARAMETERS = st.fixed_dictionaries(
    {}, optional={"question": _FIELD, "inbox_address": _FIELD, "query_date": _FIELD, "more": _ANY}
)
_ENVELOPE = st.fixed_dictionaries(
    {},
    optional={
        "parameters": _PARAMETERS | _ANY,
        "run_name": _ANY,
        "skip_artifact_materialization": _ANY,
    },
)
_BODY = st.one_of(
    (_ENVELOPE | _ANY).map(lambda value: json.dumps(value).encode()),
    _ENVELOPE.map(lambda value: json.dumps(value).encode()[:-1]),
    st.binary(max_size=200),
    st.integers(1, 3_000).map(lambda depth: b"[" * depth),
)
_HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "content-type": st.sampled_from(
            ["application/json", "text/plain", "application/json; charset=nope", "multipart/x", ""]
        ),
        "authorization": st.sampled_from(
            ["Bearer", "Bearer x", "Basic eA==", "\\", "Bearer x " * 9 + "x"]
        ),
        "accept": st.sampled_from(["*/*", "text/event-stream", "nonsense"]),
    },
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="email-agent", help="the deployment")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.getLogger("httpx").setLevel(logging.WARNING)
    from zenml.client import Client  # the test of the training service uses the rest without it

    deployment = Client().get_deployment(arguments.name)
    statuses, failed = asyncio.run(
        send_all(deployment.url, deployment.auth_key, arguments.requests, arguments.seed)
    )
    print(json.dumps({"requests": statuses.total(), "statuses": dict(sorted(statuses.items()))}))
    for request in failed[:5]:
        print(request)
    sys.exit(bool(failed))


def operations(description: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (method.upper(), path)
        for path, methods in description["paths"].items()
        for method in methods
        # Most of what can be wrong is in a body.
        for _ in range(5 if method == "post" else 1)
    ]


def bodies(count: int, seed: int) -> list[tuple[bytes, dict[str, str]]]:
    made: list[tuple[bytes, dict[str, str]]] = []

    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(_BODY, _HEADERS)
    def collect(body: bytes, headers: dict[str, str]) -> None:
        made.append((body, headers))

    hypothesis.seed(seed)(collect)()
    return made


async def send_all(
    url: str, key: str | None, count: int, seed: int
) -> tuple[Counter[int], list[str]]:
    """How many answers had which status, and the requests that were answered with 500 or above
    but for 503, which is how a service says that it is ending."""
    chooser = random.Random(seed)
    statuses: Counter[int] = Counter()
    failed: list[str] = []
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        choices = operations((await client.get("/openapi.json")).json())
        made = bodies(count, seed)
        waiting: Iterator[tuple[bytes, dict[str, str]]] = iter(
            made[n % len(made)] for n in range(count)
        )

        async def work() -> None:
            for body, odd in waiting:
                method, path = chooser.choice(choices)
                headers = dict(odd)
                if key and chooser.random() < 0.9:
                    headers["authorization"] = f"Bearer {key}"
                if chooser.random() < 0.8:
                    headers["content-type"] = "application/json"
                reply = await client.request(method, path, content=body, headers=headers)
                statuses[reply.status_code] += 1
                if reply.status_code >= 500 and reply.status_code != 503:
                    failed.append(f"{reply.status_code} {method} {path} {headers} {body[:300]!r}")

        await asyncio.gather(*(work() for _ in range(16)))
    return statuses, failed


if __name__ == "__main__":
    main()
