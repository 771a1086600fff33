"""What goes wrong around a job: a full disk, a missing model, a plan of another version."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.client import ServiceError
from service.schemas import Event

from .conftest import PATIENCE_S, POCKET_MATH, ROOT, Service, assert_whole, request, sums, until


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("faults"), {"concurrency": 2}).start()
    yield service
    service.close()


def end_of(service: Service, name: str) -> Event:
    return list(service.client.stream("default", name))[-1]


def let_write(pid: int, largest: int) -> None:
    """Bound the files that a process writes, which is to it as a full disk."""
    _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (largest, most))


def status_of_health(service: Service) -> int:
    try:
        service.client.health()
    except ServiceError as error:
        return error.status
    return 200


def test_a_job_goes_on_after_a_kill_in_its_preparation_and_after_a_full_disk(
    service: Service,
) -> None:
    service.client.train(request(num_steps=8))
    deadline = time.monotonic() + PATIENCE_S
    while not list(service.folders.environments.glob("*.partial")):
        assert time.monotonic() < deadline
    preparing = service.worker()
    assert preparing is not None
    os.kill(preparing, signal.SIGKILL)

    until(lambda: service.client.status("default", "m").step)
    assert not list(service.folders.environments.glob("*.partial"))
    worker = until(service.worker)
    assert service.process is not None
    let_write(service.process.pid, 0)
    let_write(worker, 0)
    # The worker ends, and no other one can be started: not even that is written down.
    until(lambda: status_of_health(service) == 503)
    assert service.worker() is None
    with pytest.raises(ServiceError) as refused:
        service.client.train(sums("more"))
    assert refused.value.status == 503
    status = service.client.status("default", "m")
    assert (status.status, status.attempts) == ("running", 2)
    let_write(service.process.pid, resource.RLIM_INFINITY)
    assert end_of(service, "m").data["status"] == "succeeded"
    assert status_of_health(service) == 200
    assert service.client.status("default", "m").attempts == 3
    assert_whole(service, "m", 8)


def test_a_job_that_cannot_go_on_says_why(service: Service, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(ROOT / POCKET_MATH, model)
    # Both places are taken until the model is gone.
    for name in ("one", "other"):
        service.client.train(sums(name, num_steps=1_000))
    service.client.train(sums("lost", base_model=str(model)))
    shutil.rmtree(model)
    store = service.store()
    body = request("outdated").model_dump(mode="json", exclude={"idempotency_key"})
    store.submit(body, {"seed": 0}, None, 9)
    store.close()
    for name in ("one", "other"):
        service.client.delete("default", name)
    for name, reason in (
        ("lost", "no such folder"),
        ("outdated", "another version of the service"),
    ):
        failed = end_of(service, name)
        assert failed.data["status"] == "failed"
        assert reason in failed.data["error"]
        assert service.client.status("default", name).error == failed.data["error"]
