"""A deployed agent under load: overhead of the service, throughput, memory, equal answers.

    python -m benchmarks.invoke --name my-email-agent        # a deployment that runs

One client asks every held-out question once, then many clients ask them again, in another order.
Overhead is what ``/invoke`` takes beyond the agent's own ``latency_ms``. The load is made on the
same machine, so its processor time counts too: throughput cannot rise once every core is busy.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import statistics
import time
from collections import Counter
from typing import Any

import httpx
import psutil
from zenml.client import Client

from environment.email_search.scenarios import read_scenarios
from steps.model_versions import data_artifacts

_SETTLED = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="email-agent", help="the deployment")
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--questions", type=int, default=590, help="held-out questions, at most")
    arguments = parser.parse_args()
    logging.getLogger("httpx").setLevel(logging.WARNING)
    deployment = Client().get_deployment(arguments.name)
    server = psutil.Process(deployment.deployment_metadata["pid"])
    headers = {"Authorization": f"Bearer {deployment.auth_key}"} if deployment.auth_key else {}
    questions = _questions(arguments.questions)
    result = asyncio.run(
        _measure(deployment.url, headers, questions, arguments.requests, arguments.clients, server)
    )
    for name, value in result.items():
        print(f"{name:<42} {value}")
    print(json.dumps(result))


def _questions(count: int) -> list[dict[str, str]]:
    scenarios = read_scenarios(data_artifacts("email_search")["scenarios"].load())
    held_out = [scenario for scenario in scenarios if scenario.split == "test"][:count]
    keys = ("question", "inbox_address", "query_date")
    return [{key: getattr(scenario, key) for key in keys} for scenario in held_out]


async def _measure(
    url: str,
    headers: dict[str, str],
    questions: list[dict[str, str]],
    requests: int,
    clients: int,
    server: psutil.Process,
) -> dict[str, Any]:
    alone: dict[str, Any] = {}
    overheads: list[float] = []
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx.AsyncClient(
        base_url=url, headers=headers, timeout=60, limits=limits
    ) as client:
        for question in questions[:5]:
            await _ask(client, question)
        started = time.perf_counter()
        for question in questions:
            sent_at = time.perf_counter()
            outputs = await _ask(client, question)
            overheads.append(1000 * (time.perf_counter() - sent_at) - outputs["latency_ms"])
            alone[json.dumps(question)] = _said(outputs)
        one = len(questions) / (time.perf_counter() - started)

        order = [questions[n % len(questions)] for n in range(requests)]
        random.Random(0).shuffle(order)
        waiting = iter(order)
        outcomes: Counter[str] = Counter()
        memory: list[float] = []

        async def work() -> None:
            for question in waiting:
                try:
                    outputs = await _ask(client, question)
                except (httpx.HTTPError, ValueError) as error:
                    outcomes[f"failed: {error!r}"] += 1
                    continue
                same = _said(outputs) == alone[json.dumps(question)]
                outcomes["same answer" if same else "another answer"] += 1
                if outcomes.total() % 50 == 0:
                    memory.append(_memory_mib(server))

        busy, started = _cpu_s(server), time.perf_counter()
        await asyncio.gather(*(work() for _ in range(clients)))
        seconds = time.perf_counter() - started
        busy, many = (_cpu_s(server) - busy) / seconds, requests / seconds
    settled = memory[_SETTLED // 50 - 1] if len(memory) >= _SETTLED // 50 else memory[-1]
    return {
        "overhead p50, ms": round(statistics.median(overheads), 1),
        "overhead p99, ms": round(statistics.quantiles(overheads, n=100)[98], 1),
        "one client, requests/s": round(one, 1),
        f"{clients} clients, requests/s": round(many, 1),
        "ratio": round(many / one, 2),
        f"cores busy meanwhile, of {psutil.cpu_count()}": round(busy, 2),
        "outcomes": dict(outcomes),
        f"memory after {_SETTLED} requests, MiB": round(settled),
        "highest memory after that, MiB": round(max(memory[_SETTLED // 50 - 1 :])),
    }


async def _ask(client: httpx.AsyncClient, question: dict[str, str]) -> dict[str, Any]:
    reply = await client.post("/invoke", json={"parameters": question})
    body = reply.raise_for_status().json()
    if not body["success"]:
        raise ValueError(body["error"])
    return dict(body["outputs"])


def _said(outputs: dict[str, Any]) -> tuple[Any, ...]:
    return outputs["answer"], tuple(outputs["source_ids"]), outputs["reason"]


def _memory_mib(server: psutil.Process) -> float:
    processes = [server, *server.children(recursive=True)]
    return sum(process.memory_info().rss for process in processes) / 2**20


def _cpu_s(server: psutil.Process) -> float:
    """Processor time so far of the service and of the load."""
    processes = [server, *server.children(recursive=True), psutil.Process()]
    return sum(sum(process.cpu_times()[:2]) for process in processes)


if __name__ == "__main__":
    main()
