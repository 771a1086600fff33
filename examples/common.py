"""Shared by the examples: options, a private training service, progress output."""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import yaml

from service.client import ServiceClient, ServiceError, StreamLost
from service.schemas import Event, JobStatus, Result, Step, TrainRequest
from service.states import Status

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "examples" / "service.yaml"
_START_PATIENCE_S = 60.0
_LOG_SHOWN_LINES = 20


def options(
    about: str, name: str, base_model: str, steps: int, learning_rate: float
) -> argparse.ArgumentParser:
    """The common options, with an example's own defaults."""
    started = f"{datetime.now():%Y%m%d-%H%M%S}"
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument(
        "--url", help="of a running training service; by default the example starts one"
    )
    parser.add_argument("--token", help="token of that service, if it needs one")
    parser.add_argument(
        "--base-model",
        default=str(ROOT / base_model),
        help="a hub name, or a folder on the service's machine",
    )
    parser.add_argument("--model-name", default=f"{name}-{started}")
    parser.add_argument("--project", default="examples")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--learning-rate", type=float, default=learning_rate)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--folder",
        type=Path,
        default=ROOT / "runs" / "examples" / f"{name}-{started}",
        help="data folder of the service that the example starts",
    )
    return parser


def train_request(arguments: argparse.Namespace, **fields: Any) -> TrainRequest:
    """The request for a job with these options and fields."""
    return TrainRequest.model_validate(
        {
            "model_name": arguments.model_name,
            "project": arguments.project,
            "base_model": arguments.base_model,
            "num_steps": arguments.steps,
            "batch_size": 32,
            "group_size": 8,
            "learning_rate": arguments.learning_rate,
            "seed": arguments.seed,
            **fields,
        }
    )


@contextmanager
def connected(arguments: argparse.Namespace, **sections: Any) -> Iterator[ServiceClient]:
    """A client of the service at ``--url``, or of one that runs within this block.

    Args:
        sections: of that service's configuration, replacing those of examples/service.yaml.
    """
    with ExitStack() as stack:
        url, token = arguments.url, arguments.token
        if not url:
            url, token = stack.enter_context(own_service(arguments.folder, sections))
            print(f"started a training service with data folder {arguments.folder}")
        client = stack.enter_context(ServiceClient(url, token))
        try:
            yield client
        except ServiceError as error:
            sys.exit(f"the service refused: {error}")
        except (StreamLost, httpx.TransportError) as error:
            sys.exit(f"the service at {url} cannot be reached: {error}")


@contextmanager
def own_service(folder: Path, sections: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Run a service on a free port within this block; yields its URL and token."""
    folder.mkdir(parents=True, exist_ok=True)
    config, log = folder / "service.yaml", folder / "service.log"
    config.write_text(yaml.safe_dump(yaml.safe_load(CONFIG.read_text()) | sections))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)  # keeps out other users of this machine
    variables = {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "ART_PATH": str(folder.absolute() / "data"),
        "ART_BACKEND": "embedded",
        "ART_SERVICE_TOKEN": token,
    }
    # SIGTERM must end the service, too.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "service", "--config", str(config.absolute())],
            cwd=ROOT,
            env=os.environ | variables,
            stdout=output,
            stderr=output,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_it_answers(url, process, log)
        yield url, token
    finally:
        process.terminate()
        process.wait()
        signal.signal(signal.SIGTERM, before)


def _wait_until_it_answers(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_PATIENCE_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            httpx.get(f"{url}/health").raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.2)
        else:
            return
    last = log.read_text(errors="replace").splitlines()[-_LOG_SHOWN_LINES:]
    raise RuntimeError("\n".join(["the service did not start:", *last]))


def tell(event: Event) -> None:
    """Print an event of a job."""
    if event.event == "step":
        _tell_step(Step.model_validate(event.data))
    elif event.event == "warning":
        print(f"warning: {event.data['message']}", flush=True)
    elif event.event == "status":
        print(f"job {event.data['status']}", flush=True)


def _tell_step(step: Step) -> None:
    groups, reward = step.groups, step.metrics.get("train/reward")
    shown = "    -" if reward is None else f"{reward:.3f}"
    dropped = ", ".join(f"{n} {reason}" for reason, n in groups.dropped.items() if n)
    print(
        f"step {step.step:>4}/{step.num_steps}  reward {shown}  trained {groups.trained:>3} "
        f"of {groups.trajectories}" + (f"  dropped: {dropped}" if dropped else ""),
        flush=True,
    )


def ended(job: JobStatus) -> Result | None:
    """Print how a job ended. Returns its result if it succeeded."""
    if job.status is not Status.SUCCEEDED or job.result is None:
        print(f"job {job.job_id} {job.status}: {job.error}")
        return None
    assert job.started_at is not None
    assert job.ended_at is not None
    seconds = (job.ended_at - job.started_at).total_seconds()
    print(
        f"{job.step} steps in {seconds:.0f} s; the service keeps the adapter in {job.result.adapter}"
    )
    return job.result
