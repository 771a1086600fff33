"""Workers and services that are killed, cancelled, stopped: nothing is lost and nothing done twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.locks import holder
from service.schemas import Event
from service.states import Status
from service.store import Job

from .conftest import ROOT, Service, assert_whole, occupied, sums, until


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(
        tmp_path_factory.mktemp("killed"), {"restarts": 1, "evaluation": {"samples": 2_000}}
    )
    yield service
    service.close()


@pytest.fixture
def service(shared: Service) -> Service:
    """One for all: whatever a test does to it, it runs for the next one."""
    ended = shared.process is None or shared.process.poll() is not None
    return shared.start() if ended else shared


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


def kill_all(service: Service) -> None:
    service.kill()
    for pid in service.workers():
        os.kill(pid, signal.SIGKILL)


def stop(service: Service) -> None:
    service.terminate()
    until(lambda: not service.workers())


def job_of(service: Service, name: str) -> Job:
    store = service.store()
    job = store.newest("default", name)
    store.close()
    assert job is not None
    return job


def end_of(service: Service, name: str) -> Event:
    return list(service.client.stream("default", name))[-1]


def test_no_step_is_lost_or_repeated_whatever_is_killed_or_stopped(service: Service) -> None:
    service.client.train(sums("killed", num_steps=24))
    service.client.train(sums("next", num_steps=1_000))
    thread, seen = follow(service, "killed")
    # Ends of the service are no fault of a job: more of them within a step than workers may die.
    for end in (stop, kill_all, stop):
        worker = until(lambda: service.worker("killed"))
        end(service)  # while the worker starts
        until(lambda dying=worker: not service.group_of(dying))
        service.start()
    service.kill_worker("killed")  # as often as it may be
    stepped(service, 1, "killed")
    service.kill_worker("killed")
    stepped(service, 4, "killed")
    kill_all(service)
    service.start()
    stepped(service, service.client.status("default", "killed").step + 1, "killed")
    stop(service)
    assert job_of(service, "killed").status is Status.RUNNING
    assert job_of(service, "next").status is Status.QUEUED
    service.start()
    thread.join(120)
    assert seen[-1].data["status"] == "succeeded", seen[-1]
    assert [event.id for event in seen] == list(range(1, len(seen) + 1))
    assert_whole(service, "killed", 24)
    gone, ended = "its worker died", "its worker ended with the service"
    resumed = [e.data for e in seen if e.event == "resumed"]
    assert [r["attempt"] for r in resumed] == [2, 3, 4, 5, 6, 7, 8]
    assert [r["reason"] for r in resumed] == [*[ended] * 3, *[gone] * 2, *[ended] * 2]
    assert service.client.status("default", "killed").attempts == 8


def test_a_worker_goes_on_without_its_service_and_is_adopted(service: Service) -> None:
    stepped(service, 1, "next")
    thread, seen = follow(service, "next")
    worker = until(lambda: service.worker("next"))
    service.kill()
    service.start()
    assert service.worker("next") == worker
    now = service.client.status("default", "next").step
    stepped(service, now + 1, "next")
    status = service.client.status("default", "next")
    assert (status.attempts, status.status) == (1, Status.RUNNING)
    # The new service ends it as if it were its own.
    cancelled = service.client.cancel("default", "next")
    assert (cancelled.cancelling, cancelled.status) == (True, Status.RUNNING)
    thread.join(120)
    assert "cancelling" in [event.event for event in seen]
    assert seen[-1].data["status"] == "cancelled"
    assert [event.id for event in seen] == list(range(1, len(seen) + 1))
    until(lambda: service.worker("next") is None)
    status = service.client.status("default", "next")
    assert (status.status, status.error) == (Status.CANCELLED, None)
    assert_whole(service, "next", status.step)


def test_a_cancelled_job_can_be_continued_and_a_deleted_model_takes_its_worker_with_it(
    service: Service,
) -> None:
    reached = service.client.status("default", "next").step
    service.client.train(sums("next", num_steps=2_000))
    thread, seen = follow(service, "next")
    stepped(service, reached + 1, "next")
    worker = until(lambda: service.worker("next"))
    run = job_of(service, "next").run
    service.client.delete("default", "next")
    assert service.group_of(worker) == []
    assert not list((service.folders.root / "runs").glob(f"{run}*"))
    thread.join(60)
    assert not thread.is_alive()
    assert [event.id for event in seen] == list(range(1, len(seen) + 1))
    steps = [event.data["step"] for event in seen if event.event == "step"]
    assert steps == list(range(reached + 1, reached + 1 + len(steps)))
    service.client.train(sums("next", num_steps=1))
    assert end_of(service, "next").data["status"] == "succeeded"
    assert_whole(service, "next", 1)


def test_a_job_cancelled_before_its_worker_is_ready_is_cancelled(service: Service) -> None:
    service.client.train(sums("early"))
    until(lambda: service.worker("early"))
    service.client.cancel("default", "early")
    assert end_of(service, "early").data["status"] == "cancelled"


def test_a_job_cancelled_while_it_is_evaluated_keeps_what_it_trained(service: Service) -> None:
    service.client.train(sums("evaluated", num_steps=1, evaluation=True))
    until(lambda: service.client.status("default", "evaluated").result)
    service.client.cancel("default", "evaluated")
    ended = list(service.client.stream("default", "evaluated"))[-1]
    assert ended.data["status"] == "cancelled"
    result = service.client.status("default", "evaluated").result
    assert result is not None
    assert result.evaluation is None
    assert (service.folders.root / result.adapter / "adapter_model.safetensors").exists()


def test_a_worker_that_only_dies_fails_its_job(service: Service) -> None:
    service.client.train(sums("dies", num_steps=1_000))
    for _ in range(2):
        first = service.kill_worker("dies")
        until(lambda killed=first: service.worker("dies") != killed)
    last = end_of(service, "dies")
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


def test_a_second_service_does_not_work_on_the_same_folder(
    service: Service, tmp_path: Path
) -> None:
    second = Service(tmp_path, {}, {"ART_PATH": str(service.folders.root)})
    with pytest.raises(AssertionError, match="another training service uses"):
        second.start()
    second.client.close()
    assert service.client.health().status == "healthy"


def test_two_workers_never_run_one_job(tmp_path: Path) -> None:
    with occupied(tmp_path) as job:
        data = tmp_path / "data"
        command = [sys.executable, "-m", "service.worker", "--data", str(data), "--job", job]
        second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert second.returncode == 75
        assert "held by another process" in second.stderr
