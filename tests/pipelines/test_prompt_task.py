"""The prompt task through the command line: examples of a file, training, evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from environment.jsonl import write_jsonl
from environment.prompt_task.models import Example
from models.pocket_math.examples import sums
from tests.pipelines.conftest import ROOT, Ended, Project, settings
from training.evaluation.compare import read_rows

CONFIG = str(ROOT / "configs" / "prompt_cpu.yaml")
TINY = (
    "backend.device=cpu",
    "backend.lora.rank=8",
    "training.max_steps=2",
    "evaluation.scenarios=6",
    "evaluation.samples=2",
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("examples") / "sums.jsonl"
    examples = sums(40, seed=0)
    write_jsonl(path, [*examples, examples[0]])
    return path


def command(project: Project, pipeline: str, name: str, source: Path, *more: str) -> Ended:
    arguments = ("--pipeline", pipeline, "--config", CONFIG, "--name", name)
    return project.run(*arguments, *settings(*TINY, f"data.path={source}", *more))


def summary_of(project: Project, name: str) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads(
        (project.folder / "runs" / name / "summary.json").read_text()
    )
    return summary


@pytest.fixture(scope="module")
def ended(project: Project, source: Path) -> Ended:
    return command(project, "all", "prompt", source)


def test_examples_are_loaded_trained_on_and_evaluated(ended: Ended, project: Project) -> None:
    assert ended.code == 0, ended.out + ended.err
    summary = summary_of(project, "prompt")
    made = summary["data"]["scenarios"]
    assert (made["train"], made["test"], made["with_answer"]) == (30, 10, 40)
    assert made["skipped"] == {"repeated": 1}
    assert (summary["train"]["steps"], summary["train"]["trajectories"]) == (2, 64)
    assert summary["eval"]["scenarios"] == 6
    assert "30 to train on, 10 held out" in ended.out


def test_the_rows_say_what_was_asked_and_answered(ended: Ended, project: Project) -> None:
    rows = read_rows(project.folder / "runs" / "prompt" / "evaluation.parquet")
    assert {row.question: row.gold for row in rows}.items() <= {
        (example.prompt, example.answer) for example in sums(40, seed=0)
    }
    assert all(row.success == (row.reason == "right") for row in rows)
    assert {row.reason for row in rows if row.answer is None} <= {"over_length"}
    assert any(row.success for row in rows)


def test_examples_are_read_again_when_they_change(
    ended: Ended, project: Project, source: Path
) -> None:
    assert command(project, "data", "again", source).code == 0
    assert summary_of(project, "again")["data"]["cached"]
    write_jsonl(source, sums(20, seed=1))
    assert command(project, "data", "anew", source).code == 0
    assert not summary_of(project, "anew")["data"]["cached"]


def test_without_a_file_it_is_said_what_to_give(project: Project) -> None:
    arguments = ("--pipeline", "data", "--config", CONFIG, "--name", "none")
    refused = project.run(*arguments)
    assert refused.code == 2
    assert "data.path" in refused.message


def test_examples_that_cannot_be_verified_are_refused(project: Project, tmp_path: Path) -> None:
    path = tmp_path / "open.jsonl"
    write_jsonl(path, [Example(prompt="Why?"), Example(prompt="How?")])
    refused = command(project, "all", "refused", path)
    assert refused.code == 2
    assert "2 of 2 examples cannot be verified by numeric" in refused.message
