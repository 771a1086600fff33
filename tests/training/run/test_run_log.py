from __future__ import annotations

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.run.run_log import STEP, Record, RunLog


def record(step: int, **values: object) -> Record:
    return {STEP: step, "train/reward": step / 10, **values}


def steps(records: list[Record]) -> list[int]:
    return [r[STEP] for r in records]


def log_of(folder: Path, count: int) -> RunLog:
    log = RunLog(folder)
    for step in range(1, count + 1):
        log.begin(record(step))
        log.commit(record(step, done=True))
    return log


def test_a_log_starts_empty_in_a_new_folder(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "new" / "run")
    assert log.records() == []
    assert log.recover(0) == []


def test_committed_records_are_read_in_order(tmp_path: Path) -> None:
    log_of(tmp_path, 3)
    assert RunLog(tmp_path).records() == [record(step, done=True) for step in (1, 2, 3)]


def test_commit_ends_what_begin_noted(tmp_path: Path) -> None:
    log = log_of(tmp_path, 1)
    log.begin(record(2))
    assert (tmp_path / "pending.json").exists()
    log.commit(record(2))
    assert {p.name for p in tmp_path.iterdir()} == {"metrics.jsonl"}


def test_a_record_may_hold_any_text(tmp_path: Path) -> None:
    odd = record(1, note="line\nbreaks\r\x85\u2028 \N{PILE OF POO} \ud800")
    RunLog(tmp_path).commit(odd)
    assert RunLog(tmp_path).recover(1) == [odd]


@pytest.mark.parametrize("half", ['{"training_st', '{"training_step": 3, "train/reward": 1}', "{"])
def test_a_half_written_last_line_does_not_count(tmp_path: Path, half: str) -> None:
    log = log_of(tmp_path, 2)
    with log.path.open("a") as file:
        file.write(half)
    assert steps(log.records()) == [1, 2]
    assert steps(log.recover(2)) == [1, 2]
    log.commit(record(3))
    assert steps(RunLog(tmp_path).records()) == [1, 2, 3]


def test_records_beyond_the_checkpoint_are_dropped(tmp_path: Path) -> None:
    log_of(tmp_path, 4)
    assert steps(RunLog(tmp_path).recover(2)) == [1, 2]
    assert steps(RunLog(tmp_path).records()) == [1, 2]


def test_a_step_without_checkpoint_is_forgotten(tmp_path: Path) -> None:
    log = log_of(tmp_path, 2)
    log.begin(record(3))
    assert steps(log.recover(2)) == [1, 2]
    assert not (tmp_path / "pending.json").exists()


def test_a_step_whose_line_is_missing_is_taken_from_pending_with_the_trainers_metrics(
    tmp_path: Path,
) -> None:
    log = log_of(tmp_path, 2)
    log.begin(record(3))
    recovered = log.recover(3, {"loss/train": 0.25})
    assert recovered[2] == record(3) | {"loss/train": 0.25}
    assert RunLog(tmp_path).recover(3, {"loss/train": 9.0}) == recovered


def test_a_line_that_was_written_stands_whatever_is_pending(tmp_path: Path) -> None:
    log = log_of(tmp_path, 2)
    log.begin(record(2, done=False))
    assert log.recover(2, {"loss/train": 1.0})[1] == record(2, done=True)


@pytest.mark.parametrize(
    ("lines", "pending", "checkpoint", "first_missing"),
    [
        ([], None, 1, 1),
        ([1, 3], None, 3, 2),
        ([1, 2], None, 4, 3),
        ([1, 2], 4, 4, 3),
        ([1, 2], 3, 4, 3),
        ([2, 3], None, 3, 1),
    ],
)
def test_a_gap_is_an_error_that_says_what_to_do(
    tmp_path: Path, lines: list[int], pending: int | None, checkpoint: int, first_missing: int
) -> None:
    log = RunLog(tmp_path)
    for step in lines:
        log.commit(record(step))
    if pending:
        log.begin(record(pending))
    before = log.records()
    with pytest.raises(ValueError, match=f"no record of step {first_missing}, .*--name"):
        log.recover(checkpoint)
    assert log.records() == before


MOMENTS = ("begin", "begun", "checkpoint", "line", "committed")


def _run_until_killed(
    folder: Path, checkpoint: int, steps_done: int, moment: str, cut: float
) -> int:
    """Continue a run at ``checkpoint`` for some steps, and be killed in the next one: while
    ``pending.json`` is written, after it, after the checkpoint, while the line is written (a share
    ``cut`` of it reaches the disk), or after it. Returns the newest checkpoint's step."""
    log = RunLog(folder)
    log.recover(checkpoint, {"loss/train": 1.0})
    for step in range(checkpoint + 1, checkpoint + steps_done + 1):
        log.begin(record(step))
        log.commit(record(step, done=True))
    checkpoint += steps_done
    text = json.dumps(record(checkpoint + 1, done=True)) + "\n"
    if moment == "begin":
        (folder / "pending.json.partial").write_text(text[: int(cut * len(text))])
        return checkpoint
    log.begin(record(checkpoint + 1))
    if moment == "begun":
        return checkpoint
    if moment == "line":
        with log.path.open("a") as file:
            file.write(text[: int(cut * len(text))])
    elif moment == "committed":
        log.commit(record(checkpoint + 1, done=True))
    return checkpoint + 1


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(MOMENTS), st.floats(0, 1)),
        min_size=1,
        max_size=6,
    )
)
def test_killed_at_any_moments_the_log_has_exactly_the_steps_of_the_checkpoint(
    attempts: list[tuple[int, str, float]],
) -> None:
    with TemporaryDirectory() as name:
        folder, checkpoint = Path(name), 0
        for steps_done, moment, cut in attempts:
            checkpoint = _run_until_killed(folder, checkpoint, steps_done, moment, cut)
            with TemporaryDirectory() as copy:
                shutil.copytree(folder, copy, dirs_exist_ok=True)
                recovered = RunLog(Path(copy)).recover(checkpoint, {"loss/train": 1.0})
                assert RunLog(Path(copy)).records() == recovered
            assert steps(recovered) == list(range(1, checkpoint + 1))
            assert all("done" in r or "loss/train" in r for r in recovered)
