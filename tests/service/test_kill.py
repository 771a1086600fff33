"""Workers and services that are killed, cancelled, stopped: nothing is lost and nothing done twice."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from service.client import ServiceError
from service.locks import holder
from service.schemas import Event
from service.states import Status

from .actor import acting
from .conftest import Service, StartService, assert_whole, occupied, request, until


def stepped(service: Service, step: int, name: str = "m") -> None:
    """Wait until so many steps are told."""
    until(lambda: service.client.status("default", name).step >= step)


def follow(service: Service, name: str) -> tuple[threading.Thread, list[Event]]:
    """A client that takes its stream up again wherever it breaks."""
    seen: list[Event] = []

    def listen() -> None:
        seen.extend(service.client.stream("default", name, patience_s=120))

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    return thread, seen


def test_killed_workers_are_replaced_and_no_step_is_lost_or_repeated(
    start_service: StartService,
) -> None:
    service = start_service()
    service.client.train(request(num_steps=4))
    thread, seen = follow(service, "m")
    for step in (0, 1, 2):
        stepped(service, step)
        service.kill_worker()
    thread.join(120)
    assert seen[-1].data["status"] == "succeeded"
    assert [event.id for event in seen] == list(range(1, len(seen) + 1))
    assert_whole(service, "m", 4)
    resumed = [e.data for e in seen if e.event == "resumed"]
    assert [r["attempt"] for r in resumed] == list(range(2, len(resumed) + 2))
    assert service.client.status("default", "m").attempts == len(resumed) + 1


def test_a_worker_goes_on_without_its_service_and_is_adopted(start_service: StartService) -> None:
    service = start_service()
    service.client.train(request(num_steps=1_000))
    thread, seen = follow(service, "m")
    stepped(service, 1)
    worker = until(service.worker)
    service.kill()
    service.start()
    assert service.worker() == worker
    now = service.client.status("default", "m").step
    stepped(service, now + 1)
    status = service.client.status("default", "m")
    assert (status.attempts, status.status) == (1, Status.RUNNING)
    # The new service ends it as if it were its own.
    assert service.client.cancel("default", "m").cancelling
    thread.join(120)
    assert seen[-1].data["status"] == "cancelled"
    assert [event.id for event in seen] == list(range(1, len(seen) + 1))
    until(lambda: service.worker() is None)
    assert_whole(service, "m", service.client.status("default", "m").step)


def test_service_and_worker_killed_with_jobs_waiting_all_end_well(
    start_service: StartService,
) -> None:
    service = start_service()
    followers = []
    for name in ("a", "b"):
        service.client.train(request(name, num_steps=2))
        followers.append(follow(service, name))
    stepped(service, 1, "a")
    service.kill()
    for pid in service.workers():
        os.kill(pid, signal.SIGKILL)
    service.start()
    for thread, seen in followers:
        thread.join(120)
        assert seen[-1].data["status"] == "succeeded"
        assert [event.id for event in seen] == list(range(1, len(seen) + 1))
    for name in ("a", "b"):
        assert_whole(service, name, 2)


def test_a_service_that_is_stopped_stops_its_worker_and_goes_on_when_it_is_back(
    start_service: StartService,
) -> None:
    service = start_service()
    service.client.train(request(num_steps=4))
    stepped(service, 1)
    service.terminate()
    until(lambda: not service.workers())
    store = service.store()
    job = store.newest("default", "m")
    store.close()
    assert job is not None
    assert job.status is Status.RUNNING
    service.start()
    events = list(service.client.stream("default", "m"))
    assert events[-1].data["status"] == "succeeded"
    assert_whole(service, "m", 4)


def test_a_cancelled_job_keeps_its_steps_and_can_be_continued(start_service: StartService) -> None:
    service = start_service()
    service.client.train(request(num_steps=500))
    stepped(service, 1)
    assert service.client.cancel("default", "m").status is Status.RUNNING
    events = list(service.client.stream("default", "m"))
    assert [e.event for e in events][-2:] == ["cancelling", "status"]
    status = service.client.status("default", "m")
    assert (status.status, status.error) == (Status.CANCELLED, None)
    reached = status.step
    until(lambda: service.worker() is None)
    service.client.train(request(num_steps=reached + 1))
    more = list(service.client.stream("default", "m"))
    assert [e.data["step"] for e in more if e.event == "step"] == [reached + 1]
    assert more[-1].data["status"] == "succeeded"


def test_a_job_cancelled_before_its_worker_is_ready_is_cancelled(
    start_service: StartService,
) -> None:
    service = start_service()
    service.client.train(request())
    until(service.worker)
    service.client.cancel("default", "m")
    assert list(service.client.stream("default", "m"))[-1].data["status"] == "cancelled"


def test_a_deleted_model_takes_its_worker_with_it(start_service: StartService) -> None:
    service = start_service()
    service.client.train(request(num_steps=1_000))
    thread, seen = follow(service, "m")
    stepped(service, 1)
    worker = until(service.worker)
    service.client.delete("default", "m")
    assert service.group_of(worker) == []
    assert list((service.folders.root / "runs").iterdir()) == []
    thread.join(60)
    assert not thread.is_alive()
    assert [event.id for event in seen] == list(range(1, len(seen) + 1))
    service.client.train(request(num_steps=1))
    assert list(service.client.stream("default", "m"))[-1].data["status"] == "succeeded"
    assert_whole(service, "m", 1)


def test_a_worker_that_only_dies_fails_its_job(start_service: StartService) -> None:
    service = start_service(restarts=1)
    service.client.train(request(num_steps=1_000))
    for _ in range(2):
        first = service.kill_worker()
        until(lambda killed=first: service.worker() != killed)
    last = list(service.client.stream("default", "m"))[-1]
    assert last.data["status"] == "failed"
    assert "2 times in a row" in last.data["error"]
    assert "worker.log" in last.data["error"]


def test_what_was_deleted_while_no_service_ran_is_ended_by_the_next(tmp_path: Path) -> None:
    with occupied(tmp_path):
        service = Service(tmp_path, {})
        store = service.store()
        (run,) = store.delete("default", "busy")
        store.close()
        actor = holder(service.folders.lock(run))
        assert actor is not None
        try:
            service.start()
            until(lambda: not service.folders.run(run).exists())
            assert service.group_of(actor) == []
        finally:
            service.close()


def test_a_worker_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    with occupied(tmp_path):
        service = Service(tmp_path, {"cancel_grace_s": 0.5}).start()
        try:
            actor = service.worker("busy")
            assert actor is not None
            service.client.cancel("default", "busy")
            events = list(service.client.stream("default", "busy"))
            assert events[-1].data["status"] == "cancelled"
            assert service.group_of(actor) == []
        finally:
            service.close()


def test_a_second_service_does_not_work_on_the_same_folder(start_service: StartService) -> None:
    service = start_service()
    with pytest.raises(AssertionError, match="another service works on"):
        Service(service.folders.root.parent, {}).start()
    assert service.client.health().status == "healthy"


def test_two_workers_never_run_one_job(tmp_path: Path) -> None:
    import subprocess
    import sys

    from .conftest import ROOT

    with occupied(tmp_path) as job:
        data = tmp_path / "data"
        command = [sys.executable, "-m", "service.worker", "--data", str(data), "--job", job]
        second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert second.returncode == 75
        assert "held by another process" in second.stderr


def test_cancelling_what_has_ended_is_refused(start_service: StartService) -> None:
    service = start_service()
    store = service.store()
    asked = request("done").model_dump(mode="json", exclude={"idempotency_key"})
    job, _ = store.submit(asked, {}, None, 9)
    with acting(service.folders.lock(job.run)):
        store.begin(job.id)
        store.end(job.id, Status.FAILED, error="no luck")
    store.close()
    with pytest.raises(ServiceError, match="has ended: failed") as refused:
        service.client.cancel("default", "done")
    assert refused.value.status == 409
