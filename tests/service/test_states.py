"""Whatever is done to jobs in whatever order, they go only where they may, and their events say so."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from service.states import IllegalTransition, Status, advance
from service.store import Job, ModelBusy, NoSuchJob, Store

LEGAL = {
    (Status.QUEUED, Status.RUNNING),
    (Status.QUEUED, Status.CANCELLED),
    (Status.RUNNING, Status.SUCCEEDED),
    (Status.RUNNING, Status.FAILED),
    (Status.RUNNING, Status.CANCELLED),
}
NAMES = st.sampled_from(["a", "b"])


@pytest.mark.parametrize("old", Status)
@pytest.mark.parametrize("new", Status)
def test_only_these_moves_are_legal(old: Status, new: Status) -> None:
    if (old, new) in LEGAL:
        assert advance(old, new) is new
    else:
        with pytest.raises(IllegalTransition, match=f"{old} cannot become {new}"):
            advance(old, new)


def test_a_job_has_ended_where_nothing_can_follow() -> None:
    assert {status for status in Status if status.ended} == set(Status) - {old for old, _ in LEGAL}


class Life(RuleBasedStateMachine):
    """Two models in a real database, against what their jobs must be by the rules alone."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.store = Store(Path(self._folder.name) / "s.db")
        self.expected: dict[str, Status] = {}
        self.steps: dict[str, int] = {}
        self.runs: dict[str, str] = {}

    def teardown(self) -> None:
        self.store.close()
        self._folder.cleanup()

    def job(self, name: str) -> Job | None:
        return self.store.newest("p", name)

    @rule(name=NAMES)
    def submit(self, name: str) -> None:
        request = {"project": "p", "model_name": name, "num_steps": 9}
        request |= {"base_model": "b", "environment": "e"}
        before = self.job(name)
        if before and not before.status.ended:
            with pytest.raises(ModelBusy):
                self.store.submit(request, {}, None, 9)
            return
        job, new = self.store.submit(request, {}, None, 9)
        assert new
        assert job.run == (before.run if before else job.run)
        assert job.step == (before.step if before else 0)
        self.expected[job.id], self.steps[job.id] = Status.QUEUED, job.step
        self.runs[job.id] = job.run

    def move(self, job: Job | None, new: Status, act: object) -> None:
        if job is None:
            return
        if (job.status, new) in LEGAL:
            act(job.id)  # type: ignore[operator]
            self.expected[job.id] = new
        else:
            with pytest.raises(IllegalTransition):
                act(job.id)  # type: ignore[operator]

    @rule(name=NAMES)
    def begin(self, name: str) -> None:
        self.move(self.job(name), Status.RUNNING, self.store.begin)

    @rule(name=NAMES, new=st.sampled_from([s for s in Status if s.ended]))
    def end(self, name: str, new: Status) -> None:
        job = self.job(name)
        if job is None or job.status is Status.QUEUED:
            return
        self.move(job, new, lambda id_: self.store.end(id_, new))

    @rule(name=NAMES)
    def cancel(self, name: str) -> None:
        job = self.job(name)
        if job is None:
            return
        after = self.store.request_cancel(job.id)
        if job.status is Status.QUEUED:
            self.expected[job.id] = Status.CANCELLED
        assert after.cancelling == (job.status is Status.RUNNING or job.cancelling)

    @rule(name=NAMES, step=st.integers(1, 9))
    def step(self, name: str, step: int) -> None:
        job = self.job(name)
        if job is None or job.status is not Status.RUNNING:
            return
        new = self.store.add_step(job.id, step, {"step": step})
        assert new == (step > self.steps[job.id])
        self.steps[job.id] = max(step, self.steps[job.id])
        if new:
            assert self.store.job(job.id).stalls == 0

    @rule(name=NAMES, deaths=st.integers(0, 1))
    def resume(self, name: str, deaths: int) -> None:
        job = self.job(name)
        if job and job.status is Status.RUNNING:
            after = self.store.resume(job.id, "why", deaths)
            assert (after.attempts, after.stalls) == (job.attempts + 1, job.stalls + deaths)

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        mine = [job.id for job in self.store.of_model("p", name)]
        assert self.store.delete("p", name) == {self.runs[id_] for id_ in mine}
        for id_ in mine:
            del self.expected[id_]
            with pytest.raises(NoSuchJob):
                self.store.add_event(id_, "warning", {})
            assert self.store.events(id_, 0, 9) == []

    @invariant()
    def jobs_are_where_they_should_be(self) -> None:
        for id_, status in self.expected.items():
            job = self.store.job(id_)
            assert job.status is status
            assert (job.ended_at is not None) == status.ended
            events = self.store.events(id_, 0, 1_000)
            assert [event.id for event in events] == list(range(1, len(events) + 1))
            statuses = [Status(e.data["status"]) for e in events if e.event == "status"]
            assert statuses[0] is Status.QUEUED
            assert statuses[-1] is status
            assert all(pair in LEGAL for pair in pairwise(statuses))
            steps = [event.data["step"] for event in events if event.event == "step"]
            assert steps == sorted(set(steps))

    @invariant()
    def a_model_has_one_job_that_is_not_over(self) -> None:
        for name in ("a", "b"):
            active = [j for j in self.store.of_model("p", name) if not j.status.ended]
            assert len(active) <= 1


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=30, stateful_step_count=30, deadline=None, database=None)
