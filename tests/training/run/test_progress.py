from __future__ import annotations

import fcntl
import logging
import os
import re
import select
import struct
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from training.run import progress
from training.run.progress import Progress, TrainingProgress
from training.run.run_log import STEP, Record


def record(step: int, reward: float = 0.5) -> Record:
    return {
        STEP: step,
        "train/reward": reward,
        "train/success": 0.25,
        "data/step_completion_tokens": 300,
        "time/step_wall_s": 2.0,
    }


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "training.run.progress")
    return caplog


def test_off_a_terminal_the_end_of_a_short_run_is_one_line(
    lines: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    shown = TrainingProgress(3, 0)
    for step in (1, 2, 3):
        shown.on_step(record(step, reward=step))
    shown.close()
    assert lines.messages == [
        "train: step 3 of 3, reward 2.00, success 0.25, tokens/s 150, 0 s left"
    ]
    assert capfd.readouterr().err == ""


def test_off_a_terminal_a_long_run_says_something_now_and_then(
    lines: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_LINE_EVERY_S", 0.0)
    shown = TrainingProgress(100, 0)
    for step in (1, 2):
        shown.on_step(record(step))
    assert [message[:20] for message in lines.messages] == [
        "train: step 1 of 100",
        "train: step 2 of 100",
    ]


def test_a_silent_while_has_no_line(lines: pytest.LogCaptureFixture) -> None:
    shown = TrainingProgress(100, 0)
    for step in range(1, 50):
        shown.on_step(record(step))
    assert lines.messages == []


def test_what_is_shown_is_the_average_of_the_last_steps(lines: pytest.LogCaptureFixture) -> None:
    shown = TrainingProgress(30, 0)
    for step in range(1, 31):
        shown.on_step(record(step, reward=step))
    assert "reward 25.50" in lines.messages[-1]


def test_steps_of_an_earlier_attempt_are_counted_but_not_timed(
    lines: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_LINE_EVERY_S", 0.0)
    shown = TrainingProgress(1000, 500)
    for step in range(1, 501):
        shown.on_step(record(step))
    assert lines.messages == []
    shown._progress._started -= 2.0
    shown.on_step(record(501, reward=7))
    assert "step 501 of 1000, reward 7.00" in lines.messages[0]
    left = int(re.search(r"(\d+) s left", lines.messages[0])[1])  # type: ignore[index]
    assert 998 <= left < 1100


def read_line(terminal: int) -> str:
    # What was written arrives in pieces, and not at once.
    text = ""
    while not text.endswith("\n"):
        ready, _, _ = select.select([terminal], [], [], 10)
        assert ready, f"the line did not end: {text!r}"
        text += os.read(terminal, 100_000).decode()
    return text


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """Makes stderr a terminal; gives what a person has seen there up to the end of a line."""
    person, program = os.openpty()
    fcntl.ioctl(program, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 150, 0, 0))
    with os.fdopen(program, "w") as stderr, monkeypatch.context() as patched:
        patched.setattr("sys.stderr", stderr)
        yield lambda: read_line(person)
    os.close(person)


def test_a_terminal_gets_a_bar(
    monkeypatch: pytest.MonkeyPatch, lines: pytest.LogCaptureFixture
) -> None:
    with terminal(monkeypatch) as seen:
        shown = TrainingProgress(4, 1)
        for step in (1, 2, 3, 4):
            shown.on_step(record(step))
        shown.close()
        text = seen()
    assert "train: 100%" in text
    assert "4/4" in text
    assert "reward=0.50, success=0.25, tokens/s=150" in text
    assert lines.messages == []


def test_a_bar_that_ends_early_leaves_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as seen:
        shown = Progress(10, "eval", "rollout")
        shown.advance({"policy": "base"}, 3)
        shown.close()
        text = seen()
    assert "eval:  30%" in text
    assert "policy=base" in text
    assert text.endswith("\n")
