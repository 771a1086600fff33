"""The code environment through the command line: problems, training, evaluation, a signal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.conftest import ROOT, Ended, Project, settings
from training.evaluation.compare import read_rows

CONFIG = str(ROOT / "configs" / "code_cpu.yaml")
TINY = (
    "backend.device=cpu",
    "backend.lora.rank=8",
    "data.train_limit=12",
    "data.test_limit=12",
    "training.groups_per_step=3",
    "training.rollouts_per_group=4",
    "training.max_steps=2",
    "evaluation.scenarios=6",
    "evaluation.samples=2",
)


def command(project: Project, pipeline: str, name: str, *more: str) -> Ended:
    arguments = ("--pipeline", pipeline, "--config", CONFIG, "--name", name)
    return project.run(*arguments, *settings(*TINY), *more)


def summary_of(project: Project, name: str) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads(
        (project.folder / "runs" / name / "summary.json").read_text()
    )
    return summary


@pytest.fixture(scope="module")
def ended(project: Project) -> Ended:
    return command(project, "all", "code")


def test_problems_are_made_trained_on_and_evaluated(ended: Ended, project: Project) -> None:
    assert ended.code == 0, ended.out + ended.err
    summary = summary_of(project, "code")
    assert summary["data"]["scenarios"]["train"] == 12
    assert summary["data"]["scenarios"]["test"] == 12
    train = summary["train"]
    assert (train["steps"], train["trajectories"]) == (2, 24)
    assert train["probs_corr_min"] is None or train["probs_corr_min"] > 0.999
    assert train["trained"] + sum(train["dropped"].values()) == 24
    assert summary["eval"]["scenarios"] == 6
    assert "mails" not in ended.out


def test_the_metrics_of_the_sandbox_are_in_every_record(ended: Ended, project: Project) -> None:
    lines = (project.folder / "runs" / "code" / "metrics.jsonl").read_text().splitlines()
    for record in map(json.loads, lines):
        assert record["train/sandbox_executions"] >= 1
        assert record["train/sandbox_failures"] == 0
        assert 0 <= record["train/sandbox_timeouts"] <= 1
        assert record["train/sandbox_seconds"] > 0
        verdicts = [value for key, value in record.items() if key.startswith("train/verdict_")]
        assert sum(verdicts) == pytest.approx(1)


def test_the_rows_say_how_every_rollout_ended(ended: Ended, project: Project) -> None:
    rows = read_rows(project.folder / "runs" / "code" / "evaluation.parquet")
    assert {row.mode for row in rows} == {"greedy", "sampled"}
    assert all(row.success == (row.reason == "passed") for row in rows if not row.error)
    assert all(row.question and row.gold for row in rows)


def test_data_is_cached(ended: Ended, project: Project) -> None:
    again = command(project, "data", "again")
    assert again.code == 0
    assert summary_of(project, "again")["data"]["cached"]


def test_fewer_turns_than_attempts_are_refused(project: Project) -> None:
    refused = command(project, "train", "refused", *settings("environment.max_attempts=4"))
    assert refused.code == 2
    assert "environment.max_attempts is 4, but rollout.max_turns only 3" in refused.message


def test_training_before_there_are_problems_names_the_command(project: Project) -> None:
    # Mails of another environment are no problems.
    refused = command(project, "train", "no-data", *settings("environment.name=email_search"))
    assert refused.code == 2


def sandboxes(of: int) -> list[int]:
    """The processes below a process, sandboxes among them."""
    ids = subprocess.run(
        ["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True
    ).stdout.split()
    parents = {int(pid): int(parent) for pid, parent in zip(ids[::2], ids[1::2], strict=True)}

    def below(pid: int) -> bool:
        while pid in parents:
            pid = parents[pid]
            if pid == of:
                return True
        return False

    return [pid for pid in parents if below(pid)]


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_leaves_no_sandbox_behind(
    number: signal.Signals, ended: Ended, project: Project, tmp_path: Path
) -> None:
    name = f"signalled-{number.name}"
    endless = settings("training.max_steps=999", "training.empty_steps_limit=999")
    running = project.start(
        "--pipeline", "train", "--config", CONFIG, "--name", name,
        *settings(*TINY), *endless, TMPDIR=str(tmp_path),
    )  # fmt: skip
    metrics = project.folder / "runs" / name / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not metrics.exists() or not metrics.read_text():
        assert running.process.is_alive(), running.end()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    pid = running.process.pid or 0
    children = sandboxes(pid)
    assert children
    os.kill(pid, number)
    code = running.end().code
    assert code == (-9 if number is signal.SIGKILL else 130)
    while alive(children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(children)
    left = [path for path in tmp_path.rglob("*") if "sandbox" in path.name]
    assert not left or number is signal.SIGKILL
