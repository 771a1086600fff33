"""Jobs whose service and workers are killed at random moments, and a client that follows each."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import httpx

from tests.service.conftest import Service, assert_whole, sums, until

JOBS = ("a", "b", "c")
VICTIMS = ("service", "worker", "both")
_PATIENCE_S = 900.0
_ENDS_S = 5.0
_MARK = "ART_RL_BENCHMARK"


class Follower(threading.Thread):
    """Follows a job as any client would: comes back with the last id that it has seen.

    Attributes:
        ids: of all events, as they were sent; nothing is put right here.
        steps: those that were told.
        connections: how often it asked.
    """

    def __init__(self, url: str, name: str) -> None:
        super().__init__(daemon=True)
        self._url = f"{url}/train/default/{name}/stream"
        self.ids: list[int] = []
        self.steps: list[int] = []
        self.status = ""
        self.connections = 0

    def run(self) -> None:
        while self.status not in ("succeeded", "failed", "cancelled"):
            try:
                self._listen()
            except httpx.TransportError:
                time.sleep(0.1)

    def _listen(self) -> None:
        headers = {"Last-Event-ID": str(self.ids[-1] if self.ids else 0)}
        with httpx.stream("GET", self._url, headers=headers, timeout=30) as response:
            response.raise_for_status()
            self.connections += 1
            event: dict[str, str] = {}
            for line in response.iter_lines():
                name, _, value = line.partition(": ")
                event[name] = value
                if not line and "id" in event:
                    self._take(int(event["id"]), event["event"], json.loads(event["data"]))
                    event = {}

    def _take(self, id_: int, event: str, data: dict[str, Any]) -> None:
        self.ids.append(id_)
        if event == "step":
            self.steps.append(data["step"])
        elif event == "status":
            self.status = data["status"]


def kill_at_random(
    service: Service, count: int, steps: int, seed: int
) -> tuple[dict[str, Any], list[str]]:
    """Returns what was done, and what was wrong afterwards."""
    service.environ[_MARK] = str(service.folders.root)
    source = random.Random(seed)
    service.start()
    try:
        for name in JOBS:
            service.client.train(sums(name, num_steps=steps))
        followers = {name: Follower(service.url, name) for name in JOBS}
        for follower in followers.values():
            follower.start()
        killed = [
            _kill(service, source, share, steps)
            # All are in flight until the first one ends.
            for share in sorted(source.uniform(0, 0.8) for _ in range(count))
        ]
        for follower in followers.values():
            follower.join(_PATIENCE_S)
        faults = [f for name in JOBS for f in _faults(service, name, followers[name], steps)]
        attempts = {name: service.client.status("default", name).attempts for name in JOBS}
        # uvicorn ends by the signal that it was asked with.
        if (code := service.terminate()) != -signal.SIGTERM:
            faults.append(f"the service ended with {code}")
        deadline = time.monotonic() + _ENDS_S
        while (left := _processes_of(service)) and time.monotonic() < deadline:
            time.sleep(0.1)
        if left:
            faults.append(f"{len(left)} processes are left: {left}")
    finally:
        service.close()
    figures = {
        "seed": seed,
        "killed at steps": ", ".join(killed),
        "jobs": {name: follower.status for name, follower in followers.items()},
        "steps told": {name: len(follower.steps) for name, follower in followers.items()},
        "events told": {name: len(follower.ids) for name, follower in followers.items()},
        "connections": {name: follower.connections for name, follower in followers.items()},
        "workers": attempts,
        "processes left": len(left),
    }
    return figures, faults


def _kill(service: Service, source: random.Random, share: float, steps: int) -> str:
    """Kill something when the job that is ahead has come so far, or up to three seconds later."""
    until(lambda: max(_made(service)) >= share * steps, _PATIENCE_S)
    time.sleep(source.uniform(0, 3))
    victim, made, workers = source.choice(VICTIMS), _made(service), service.workers()
    if victim != "worker":
        service.kill()
    if victim != "service" and workers:
        how_many = 1 if victim == "worker" else source.randint(1, len(workers))
        for pid in source.sample(workers, how_many):
            _kill_process(pid)
        victim += f" ({how_many} of {len(workers)} workers)"
    if service.process is not None and service.process.poll() is not None:
        time.sleep(source.uniform(0, 2))
        service.start()
    return f"{'/'.join(map(str, made))} {victim}"


def _made(service: Service) -> list[int]:
    return [service.client.status("default", name).step for name in JOBS]


def _kill_process(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it has ended this moment


def _faults(service: Service, name: str, follower: Follower, steps: int) -> list[str]:
    """What is wrong with a job: for its client, in the database, in its run's folder."""
    if follower.status != "succeeded":
        return [f"{name} is {follower.status or 'not over'}: {_error(service, name)}"]
    faults = []
    if follower.ids != list(range(1, len(follower.ids) + 1)):
        faults.append(f"{name}: the client saw the events {follower.ids}")
    if follower.steps != list(range(1, steps + 1)):
        faults.append(f"{name}: the client saw the steps {follower.steps}")
    try:
        records = assert_whole(service, name, steps)
    except AssertionError as error:
        return [*faults, f"{name}: {error}"]
    result = service.client.status("default", name).result
    assert result is not None
    adapter = service.folders.root / result.adapter
    return faults + [f"{name}: {fault}" for fault in _faults_of_weights(adapter, records)]


def _faults_of_weights(adapter: Path, records: list[dict[str, Any]]) -> list[str]:
    """Whether the adapter is the last checkpoint's, which has exactly the steps' updates in it."""
    import torch

    steps = len(records)
    (model,) = (adapter.parents[2] / "training" / "art").glob("*/models/*")
    checkpoint = model / "checkpoints" / f"{steps:04d}"
    weights = "adapter_model.safetensors"
    faults = []
    if (adapter / weights).read_bytes() != (checkpoint / weights).read_bytes():
        faults.append(f"the adapter is not checkpoint {steps}")
    state = torch.load(checkpoint / "trainer_state.pt", weights_only=True)["optimizer"]["state"]
    updates = {int(one["step"]) for one in state.values()}
    trained = sum(record["data/step_trained_trajectories"] > 0 for record in records)
    if updates != {trained}:
        faults.append(f"{trained} steps trained, but the optimizer counts {updates}")
    return faults


def _error(service: Service, name: str) -> str | None:
    return service.client.status("default", name).error


def _processes_of(service: Service) -> list[str]:
    """The command lines of all live processes that the service or a worker has started."""
    mark = f"{_MARK}={service.folders.root}".encode()
    commands = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                commands.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return commands
