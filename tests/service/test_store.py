"""The database of jobs: keys, the queue, and many processes that write at once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.states import Status
from service.store import KeyReused, ModelBusy, QueueFull, Store

from .conftest import ROOT


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "s.db")
    yield opened
    opened.close()


def body(name: str = "m", **changes: Any) -> dict[str, Any]:
    names = {"project": "p", "model_name": name, "base_model": "b", "environment": "e"}
    return names | {"num_steps": 3} | changes


def test_the_same_key_gives_the_same_job_and_another_request_may_not_have_it(store: Store) -> None:
    first, new = store.submit(body(), {}, "key", 9)
    again, not_new = store.submit(body(), {}, "key", 9)
    assert (new, not_new) == (True, False)
    assert again == first
    store.request_cancel(first.id)
    assert store.submit(body(), {}, "key", 9)[0].id == first.id
    with pytest.raises(KeyReused, match=first.id):
        store.submit(body(num_steps=4), {}, "key", 9)


def test_a_deleted_models_key_is_free_and_its_next_job_begins_anew(store: Store) -> None:
    first, _ = store.submit(body(), {}, "key", 9)
    assert store.delete("p", "m") == {first.run}
    assert store.doomed() == [first.run]
    second, new = store.submit(body(num_steps=4), {}, "key", 9)
    assert new
    assert second.run != first.run


def test_names_that_differ_in_case_are_two_models_in_two_folders(store: Store) -> None:
    one, _ = store.submit(body("Model"), {}, None, 9)
    other, _ = store.submit(body("model"), {}, None, 9)
    assert one.run != other.run


def test_a_model_in_training_and_a_full_queue_take_no_job(store: Store) -> None:
    job, _ = store.submit(body(), {}, None, 1)
    with pytest.raises(ModelBusy, match=job.id):
        store.submit(body(), {}, None, 9)
    with pytest.raises(QueueFull):
        store.submit(body("other"), {}, None, 1)
    store.begin(job.id)
    with pytest.raises(ModelBusy):
        store.submit(body(), {}, None, 9)


def test_the_queue_is_in_the_order_of_arrival(store: Store) -> None:
    jobs = [store.submit(body(f"m{n}"), {}, None, 99)[0] for n in (3, 1, 2)]
    assert [job.id for job in store.in_status(Status.QUEUED)] == [job.id for job in jobs]
    assert [store.position(job) for job in jobs] == [1, 2, 3]
    store.begin(jobs[0].id)
    assert [store.position(store.job(job.id)) for job in jobs] == [None, 1, 2]


def test_models_are_listed_by_name_or_those_in_training_and_then_the_newest(store: Store) -> None:
    jobs = {n: store.submit(body(f"m{n}"), {}, None, 99)[0] for n in (1, 3, 2)}
    store.begin(jobs[1].id)
    assert [j.model_name for j in store.newest_of_models(9, 0, True)] == ["m1", "m2", "m3"]
    assert [j.model_name for j in store.newest_of_models(9, 0, False)] == ["m1", "m2", "m3"]
    store.end(jobs[1].id, Status.FAILED, error="it broke")
    assert [j.model_name for j in store.newest_of_models(9, 0, False)] == ["m2", "m3", "m1"]
    assert [j.model_name for j in store.newest_of_models(1, 1, False)] == ["m3"]


WRITER = """
import sys
from pathlib import Path
from service.store import Store
store = Store(Path(sys.argv[1]))
for n in range(100):
    store.add_event(sys.argv[2], "warning", {"message": f"{sys.argv[3]} {n}"})
"""


def test_processes_that_write_at_once_leave_no_gap_and_no_duplicate(
    store: Store, tmp_path: Path
) -> None:
    job, _ = store.submit(body(), {}, None, 9)
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "s.db"), job.id, str(n)], cwd=ROOT
        )
        for n in range(4)
    ]
    assert [writer.wait() for writer in writers] == [0] * 4
    events = store.events(job.id, 0, 1_000)
    assert [event.id for event in events] == list(range(1, 402))
    said = [event.data["message"].split() for event in events[1:]]
    for n in range(4):
        assert [int(m) for writer, m in said if writer == str(n)] == list(range(100))


def test_what_cannot_be_written_is_undone_whole(store: Store) -> None:
    job, _ = store.submit(body(), {}, None, 9)
    store.begin(job.id)
    with pytest.raises(ValueError, match="JSON"):
        store.add_step(job.id, 1, {"step": 1, "value": float("nan")})
    assert store.job(job.id).step == 0
    assert store.add_step(job.id, 1, {"step": 1})


def test_secrets_reach_neither_events_nor_errors(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "hidden-value-123")
    job, _ = store.submit(body(), {}, None, 9)
    store.begin(job.id)
    store.add_event(job.id, "warning", {"hidden-value-123": ["x hidden-value-123 y"]})
    store.end(job.id, Status.FAILED, error="401: hidden-value-123 or Bearer abcdefgh12345")
    assert store.job(job.id).error == "401: [secret] or [secret]"
    store.close()
    kept = b"".join(p.read_bytes() for p in tmp_path.iterdir())
    assert b"hidden-value-123" not in kept
    assert os.environ["SOME_API_KEY"] == "hidden-value-123"
