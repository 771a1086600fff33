"""What the training service promises, with real services, real workers and real clients.

    python -m benchmarks.service --kills 10 [--steps 200] [--seed 0]
    python -m benchmarks.service --streams 200
    python -m benchmarks.service --queue 1000
    python -m benchmarks.service --cases 5000

--kills kills the service, a worker or both with SIGKILL at random moments while three jobs train, and
asks whether a step, an event or a process is lost or too many. --streams lets so many clients follow
one job. --queue queues so many jobs, kills the service half-way, and cancels them all. --cases sends
so many requests, right and wrong, and holds each answer against the OpenAPI description. Each prints
a table and exits with 1 if something is not as it must be.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from benchmarks._service_crowds import cancel_a_queue, follow_one_job
from benchmarks._service_kills import kill_at_random
from benchmarks._service_openapi import check_answers, walked
from tests.service.conftest import Service

Result = dict[str, Any]


def kills(folder: Path, count: int, steps: int, seed: int) -> tuple[Result, list[str]]:
    return kill_at_random(Service(folder, {"concurrency": 3}), count, steps, seed)


def streams(folder: Path, count: int, steps: int, seed: int) -> tuple[Result, list[str]]:
    return asyncio.run(follow_one_job(Service(folder, {"streams": count}), count, steps))


def queue(folder: Path, count: int, steps: int, seed: int) -> tuple[Result, list[str]]:
    return cancel_a_queue(Service(folder, {}), count)


def cases(folder: Path, count: int, steps: int, seed: int) -> tuple[Result, list[str]]:
    with walked(folder) as service:
        statuses = check_answers(service.url, count, seed)
    answered: Result = {str(status): n for status, n in sorted(statuses.items())}
    return {"requests": statuses.total(), "answers": answered}, []


MEASURES: dict[str, Callable[[Path, int, int, int], tuple[Result, list[str]]]] = {
    "kills": kills,
    "streams": streams,
    "queue": queue,
    "cases": cases,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in MEASURES:
        parser.add_argument(f"--{name}", type=int, metavar="N")
    parser.add_argument("--steps", type=int, default=200, help="of a job that trains")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chosen = {name: count for name in MEASURES if (count := getattr(arguments, name))}
    if not chosen:
        parser.error("say what to measure: " + ", ".join(f"--{name} N" for name in MEASURES))
    faults: list[str] = []
    for name, count in chosen.items():
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            result, wrong = MEASURES[name](Path(folder), count, arguments.steps, arguments.seed)
        print(f"{name} {count}: {'as promised' if not wrong else 'NOT as promised'}")
        for key, value in (result | {"seconds": round(time.monotonic() - began)}).items():
            print(f"  {key:<24} {value}")
        for fault in wrong:
            print(f"  FAULT: {fault}")
        faults += wrong
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
