"""Services as a user starts them: a process on loopback over a data folder of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from models.pocket_math.examples import sums as draw_sums
from service.client import ServiceClient
from service.folders import Folders
from service.locks import holder
from service.schemas import TrainRequest
from service.store import Store

from .actor import acting

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0
POCKET, POCKET_MATH = "models/pocket", "models/pocket_math"
SETTINGS: dict[str, Any] = {
    "heartbeat_s": 0.5,
    "cancel_grace_s": 30,
    "requests_per_minute": 100_000,
    "backend": {
        "kind": "embedded",
        "device": "cpu",
        "threads": 1,
        "lora": {"rank": 8, "alpha": 16},
        "max_sequence_tokens": 2048,
        "micro_batch_tokens": 2048,
    },
    "rollout": {"max_turns": 6, "max_reply_tokens": 64, "max_tokens": 2048, "timeout_s": 60},
    # Equal rewards in a step are no matter here.
    "training": {"empty_steps_limit": 1000},
    "environments": {
        "email_search": {
            "settings": {"max_hits": 4, "snippet_words": 10, "max_mail_chars": 600},
            "data": {"train_inboxes": 2, "test_inboxes": 2, "mails_per_inbox": 60},
        }
    },
}
_UNSET = ("ART_BACKEND", "ART_PATH", "HOST", "PORT", "LOG_LEVEL", "ART_SERVICE_TOKEN")
_KEYS = ("OPENAI_API_KEY", "WANDB_API_KEY", "WANDB_MODE")


def request(name: str = "m", **changes: Any) -> TrainRequest:
    """A job of the pocket policy in the inboxes, small enough for a test."""
    fields: dict[str, Any] = {
        "model_name": name,
        "base_model": POCKET,
        "environment": "email_search",
        "use_ruler": False,
        "num_steps": 2,
        "batch_size": 8,
        "learning_rate": 1e-3,
    }
    return TrainRequest.model_validate(fields | changes)


def sums(name: str = "m", **changes: Any) -> TrainRequest:
    """A job of the arithmetic policy: nothing to prepare, and a step in a fraction of a second."""
    fields: dict[str, Any] = {
        "base_model": POCKET_MATH,
        "environment": "prompt_task",
        "task_prompt": "Solve it.",
        "verifier": "numeric",
        "training_data": [example.model_dump() for example in draw_sums(64, seed=0)],
    }
    return request(name, **fields | changes)


def until(reached: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """Wait for something to become true, and return it."""
    deadline = time.monotonic() + patience_s
    while not (outcome := reached()):
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.05)
    return outcome


class Service:
    """A service in a process; the same data folder and port each time it is started."""

    def __init__(
        self, folder: Path, settings: dict[str, Any], environ: dict[str, str] | None = None
    ) -> None:
        self.folders = Folders(folder / "data")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._config = folder / "service.yaml"
        own = {"port": self.port, "data": str(self.folders.root)}
        self._config.write_text(yaml.safe_dump(SETTINGS | settings | own))
        kept = {k: v for k, v in os.environ.items() if k not in (*_UNSET, *_KEYS)}
        self.environ = kept | (environ or {})
        self.log = folder / "service.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.client = ServiceClient(self.url, (environ or {}).get("ART_SERVICE_TOKEN"))

    def start(self) -> Service:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "service"),
                    *("--config", str(self._config), "--env-file", os.devnull),
                ],
                cwd=ROOT,
                env=self.environ,
                stdout=log,
                stderr=log,
            )
        until(self._answers)
        return self

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        try:
            return httpx.get(f"{self.url}/health").status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def terminate(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(PATIENCE_S)

    def store(self) -> Store:
        return Store(self.folders.database)

    def worker(self, name: str = "m") -> int | None:
        """The process that works on a model."""
        store = self.store()
        try:
            job = store.newest("default", name)
        finally:
            store.close()
        return holder(self.folders.lock(job.run)) if job else None

    def workers(self) -> list[int]:
        locks = (self.folders.root / "runs").glob("*.lock")
        return [pid for lock in locks if (pid := holder(lock))]

    def kill_worker(self, name: str = "m") -> int:
        pid = until(lambda: self.worker(name))
        os.kill(pid, signal.SIGKILL)
        return pid

    def group_of(self, pid: int) -> list[int]:
        """The live processes of a worker's group."""
        pids = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[2]) == pid and fields[0] != "Z":
                pids.append(int(stat.parent.name))
        return pids

    def close(self) -> None:
        self.client.close()
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(PATIENCE_S)
            self.kill()
        for pid in self.workers():
            os.killpg(pid, signal.SIGKILL)


StartService = Callable[..., Service]


@pytest.fixture
def start_service(tmp_path: Path) -> Iterator[StartService]:
    """Start a service; called with settings to change."""
    with ExitStack() as stack:

        def start(environ: dict[str, str] | None = None, **settings: Any) -> Service:
            service = Service(tmp_path, settings, environ)
            stack.callback(service.close)
            return service.start()

        yield start


@contextmanager
def occupied(folder: Path) -> Iterator[str]:
    """A data folder where a job of model ``busy`` runs, by an actor: the one place is taken, so all
    other jobs wait. Gives the job's id."""
    folders = Folders(folder / "data")
    store = Store(folders.database)
    body = request("busy", num_steps=50).model_dump(mode="json", exclude={"idempotency_key"})
    job = store.begin(store.submit(body, {}, None, 1)[0].id)
    store.close()
    folders.run(job.run).mkdir(parents=True)
    with acting(folders.lock(job.run)):
        yield job.id


def assert_whole(service: Service, name: str, steps: int) -> list[dict[str, Any]]:
    """Nothing of a model's newest job is lost or repeated: event ids, steps, records on disk."""
    store = service.store()
    try:
        job = store.newest("default", name)
        assert job is not None
        events = store.events(job.id, 0, 10_000)
    finally:
        store.close()
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    streamed_steps = [event.data["step"] for event in events if event.event == "step"]
    assert streamed_steps == list(range(1, steps + 1))
    log = service.folders.run(job.run) / "training" / "metrics.jsonl"
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert [record["training_step"] for record in records] == streamed_steps
    return records
