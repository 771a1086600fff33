"""Many clients on one job, and many jobs in one queue."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from service.client import AsyncServiceClient
from service.states import Status
from tests.service.conftest import Service, sums, until

_MOST_MIB = 500
_CALLERS = 8


def peak_mib(pid: int) -> float:
    """The most memory that a process has held."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


async def follow_one_job(
    service: Service, clients: int, steps: int
) -> tuple[dict[str, Any], list[str]]:
    """So many clients follow a job that trains, from its beginning to its end."""
    service.start()
    assert service.process is not None
    try:
        service.client.train(sums("m", num_steps=steps))
        async with AsyncServiceClient(service.url) as client:

            async def follow() -> list[tuple[int, str]]:
                return [(e.id, e.event) async for e in client.stream("default", "m")]

            seen = await asyncio.gather(*(follow() for _ in range(clients)))
        status = service.client.status("default", "m")
        peak = peak_mib(service.process.pid)
    finally:
        service.close()
    faults = []
    if status.status is not Status.SUCCEEDED:
        faults.append(f"the job {status.status}: {status.error}")
    ids = list(range(1, status.last_event_id + 1))
    if missed := sum([id_ for id_, _ in events] != ids for events in seen):
        faults.append(f"{missed} clients did not see every event once and in order")
    if peak >= _MOST_MIB:
        faults.append(f"{peak:.0f} MiB are {_MOST_MIB} or more")
    figures = {
        "clients": len(seen),
        "events": status.last_event_id,
        "steps": sum(event == "step" for _, event in seen[0]),
        "events sent": sum(map(len, seen)),
        "peak memory MiB": round(peak),
    }
    return figures, faults


def cancel_a_queue(service: Service, count: int) -> tuple[dict[str, Any], list[str]]:
    """Queue jobs, with a kill of the service half-way, find each of them, and cancel them all."""
    names = [f"m{number:05}" for number in range(count)]
    faults: list[str] = []
    service.start()
    try:
        with (
            httpx.Client(base_url=service.url, timeout=60) as http,
            ThreadPoolExecutor(_CALLERS) as pool,
        ):

            def post(name: str) -> int:
                # A long job: the first in the queue trains until it is cancelled.
                body = sums(name, num_steps=100_000).model_dump(mode="json", exclude_none=True)
                return http.post("/train", json=body).status_code

            def cancel(name: str) -> int:
                return http.post(f"/train/default/{name}/cancel").status_code

            began = time.monotonic()
            codes = list(pool.map(post, names[: count // 2]))
            service.kill()
            service.start()
            codes += pool.map(post, names[count // 2 :])
            queued_s = time.monotonic() - began
            if set(codes) != {202}:
                faults.append(f"not all were taken: {sorted(set(codes))}")
            if _listed(service) != names:
                faults.append("not all are listed, each once")
            until(lambda: service.client.health().running == 1)
            health = service.client.health()
            if health.queue_depth != count - 1:
                faults.append(f"{health.queue_depth} jobs wait and not {count - 1}")
            places = [service.client.status("default", n).queue_position for n in names]
            if sorted(p for p in places if p) != list(range(1, count)):
                faults.append("the places in the queue are not 1, 2, 3…")
            began = time.monotonic()
            if set(pool.map(cancel, names)) != {202}:
                faults.append("not all could be cancelled")
            until(lambda: service.client.health().running == 0)
            cancelled_s = time.monotonic() - began
            ended = [service.client.status("default", n).status for n in names]
            if set(ended) != {Status.CANCELLED}:
                faults.append(f"they ended as {set(ended)}")
    finally:
        service.close()
    figures = {
        "jobs": count,
        "seconds to queue": round(queued_s, 1),
        "of them a restart": "1 kill of the service half-way",
        "seconds to cancel": round(cancelled_s, 1),
    }
    return figures, faults


def _listed(service: Service) -> list[str]:
    names: list[str] = []
    while page := service.client.models(limit=300, offset=len(names)).models:
        names += [model.model_name for model in page]
    return names
