"""The command line, in processes of its own, on a copy of the project."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from zenml.client import Client

from tests.pipelines.conftest import SMALL, Ended, Finished, Project, settings

# What is refused before any work starts: arguments, and what the one line of the answer says.
REFUSED: dict[str, tuple[list[str], list[str]]] = {
    "an unknown key": (
        ["--pipeline", "data", "--set", "data.train_inbox=1"],
        ["unknown key data.train_inbox", "did you mean train_inboxes?"],
    ),
    "a configuration that is not there": (
        ["--pipeline", "data", "--config", "configs/none.yaml"],
        ["cannot read the configuration", "configs/none.yaml"],
    ),
    "a folder of mails that is not there": (
        ["--pipeline", "data", *settings("data.source=maildir", "data.path=nowhere")],
        ["data.path: there is no nowhere"],
    ),
    "scenarios that are not there": (
        ["--pipeline", "all", *settings("data.scenarios=file", "data.scenarios_path=no.jsonl")],
        ["data.scenarios_path: there is no no.jsonl"],
    ),
    "a GPU that is not there": (
        ["--pipeline", "train", "--set", "backend.device=cuda"],
        ["no CUDA GPU is visible", "use device: cpu"],
    ),
    "a GPU that is not there for the local profile": (
        ["--pipeline", "train", "--config", "configs/training_local.yaml"],
        ["needs a CUDA GPU", "embedded"],
    ),
    "a model folder that is not there": (
        ["--pipeline", "train", "--set", "backend.base_model=./models/none"],
        ["cannot load the model ./models/none", "no such folder"],
    ),
    "a model that cannot be loaded": (
        ["--pipeline", "eval", "--set", "backend.base_model=configs"],
        ["cannot load the model configs"],
    ),
    "a judge without a key": (
        ["--pipeline", "train", "--set", "training.reward=ruler"],
        ["judge: the model openai/o4-mini needs OPENAI_API_KEY"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_work_is_refused_in_one_line(case: str, project: Project) -> None:
    arguments, phrases = REFUSED[case]
    assert_refused(project.run(*arguments), phrases)


def test_it_is_refused_by_a_new_python_too(project: Project) -> None:
    arguments, phrases = REFUSED["a GPU that is not there"]
    assert_refused(project.run_anew(*arguments), phrases)


def assert_refused(ended: Ended, phrases: list[str]) -> None:
    assert ended.code == 2
    (line,) = ended.message.splitlines()
    assert line.startswith("error: ")
    assert all(words in line for words in phrases)
    assert "Traceback" not in ended.out + ended.err


def test_training_before_there_is_data_is_refused_and_summed_up_with_nulls(
    project: Project, tmp_path: Path
) -> None:
    home = str(tmp_path / "zenml")
    ended = project.run("--pipeline", "train", "--name", "no-data", ZENML_CONFIG_PATH=home)
    assert_refused(
        ended, ["there is no data of email_search yet: run python run.py --pipeline data first"]
    )
    summary = json.loads((project.folder / "runs" / "no-data" / "summary.json").read_text())
    assert summary.pop("peak_rss_mib") > 100
    assert summary == {
        "pipeline": "train",
        "status": "failed",
        "seed": 0,
        "seconds": {"data": None, "train": None, "eval": None},
        "data": None,
        "train": None,
        "eval": None,
        "promoted": None,
        "checkpoint": None,
    }


def test_evaluation_before_any_training_is_refused(finished: Finished, project: Project) -> None:
    ended = project.run("--pipeline", "eval", "--name", "no-model", "--set", "model_name=nobody")
    assert ended.code == 2
    assert ended.message == (
        "error: no trained version of nobody yet: run python run.py --pipeline train first"
    )


def test_a_fault_that_shows_only_in_a_step_is_told_in_one_line_too(
    project: Project, tmp_path: Path
) -> None:
    (tmp_path / "mails").mkdir()
    mails = settings("data.source=maildir", f"data.path={tmp_path / 'mails'}")
    ended = project.run("--pipeline", "data", "--name", "no-mail", *mails)
    assert_refused(ended, ["no email found in "])
    assert "Traceback" not in ended.out + ended.err
    log = (project.folder / "runs" / "no-mail" / "run.log").read_text()
    assert "Traceback" in log


def test_a_configuration_is_looked_for_where_the_command_is_given(
    project: Project, tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text("xyzzy: 1\n")
    ended = project.run("--pipeline", "data", "--config", "mine.yaml", cwd=tmp_path)
    assert ended.code == 2
    assert "unknown key xyzzy" in ended.message


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--pipeline", "deploy-to-mars"],
        ["--pipeline", "data", "--seed", "one"],
        ["--pipeline", "data", "--name", "../up"],
        ["--pipeline", "data", "--name", "a b"],
        ["--pipeline", "data", "--name", ".."],
        ["--pipeline", "data", "--unknown"],
        ["--pipeline", "eval", "--dry-run", "rollouts"],
        ["--pipeline", "train", "--dry-run", "walk"],
        ["--pipeline", "train", "--model", "m"],
        ["--pipeline", "train", "--dry-run", "rollouts", "--base-url", "http://x"],
    ],
)
def test_wrong_arguments_are_refused_with_the_usage(arguments: list[str], project: Project) -> None:
    ended = project.run(*arguments)
    assert ended.code == 2
    assert ended.err.startswith("usage: run.py")
    assert "Traceback" not in ended.err
    assert not (project.folder / "up").exists()


def test_help_takes_less_than_a_second(project: Project) -> None:
    seconds = []
    for _ in range(3):
        started = time.monotonic()
        ended = project.run_anew("--help")
        seconds.append(time.monotonic() - started)
    assert ended.code == 0
    for option in ("--pipeline", "--config", "--set", "--seed", "--name", "--model-version"):
        assert option in ended.out
    assert min(seconds) < 1


def test_the_command_line_imports_only_the_standard_library(project: Project) -> None:
    code = "import sys, run; print(*{m.partition('.')[0] for m in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=project.folder,
    )
    foreign = set(done.stdout.split()) - set(sys.stdlib_module_names) - {"run", "__mp_main__"}
    assert not {name for name in foreign if not name.startswith("_")}


def test_a_whole_run_ends_with_the_table(finished: Finished) -> None:
    assert finished.ended.code == 0
    assert "Traceback" not in finished.ended.out + finished.ended.err
    assert "train: step 2 of 2, reward" in finished.ended.out
    table = finished.ended.out[finished.ended.out.rindex("all: completed") :]
    for words in ("database  ", "scenarios  ", "training  ", "held out", "base  ", "trained  "):
        assert words in table
    assert "details     runs/first/" in table


def test_the_screen_shows_the_pipelines_their_steps_and_the_result(finished: Finished) -> None:
    lines = finished.ended.out.splitlines()
    assert len(lines) <= 40
    assert [line for line in lines if line in ("data", "train", "eval")] == [
        "data",
        "train",
        "eval",
    ]
    for step in ("create_database", "train_agent", "run_inference"):
        assert any(re.fullmatch(rf"  ✓ {step} [\d.]+ s", line) for line in lines)
    for word in ("ZenML", "zenml", "trial", "dashboard", "orchestrator", "\x1b["):
        assert word not in finished.ended.out
    log = (finished.folder / "run.log").read_text()
    assert "zenml.pipelines" in log
    assert "zenml.orchestrators" in log


def test_what_comes_from_the_cache_says_so(project: Project, finished: Finished) -> None:
    ended = project.run("--pipeline", "data", "--name", "again", *settings(*SMALL))
    assert "  ✓ create_database cached" in ended.out.splitlines()


def test_verbose_shows_what_zenml_says(project: Project, finished: Finished) -> None:
    ended = project.run("--pipeline", "data", "--name", "loud", "--verbose", *settings(*SMALL))
    assert "orchestrator" in ended.out


def is_share(value: Any) -> bool:
    return isinstance(value, float) and 0 <= value <= 1


def test_the_summary_has_every_documented_key(finished: Finished) -> None:
    summary = finished.summary
    assert (summary["pipeline"], summary["status"], summary["seed"]) == ("all", "completed", 0)
    assert summary["seconds"].keys() == {"data", "train", "eval"}
    assert all(seconds > 0 for seconds in summary["seconds"].values())
    assert 100 < summary["peak_rss_mib"] < 4096
    train = summary["train"]
    assert (train["steps"], train["trajectories"]) == (2, 36)
    assert train["trained"] + sum(train["dropped"].values()) == train["trajectories"]
    assert 0.999 <= train["probs_corr_min"] <= 1
    assert all(isinstance(train[key], float) for key in ("reward_first", "reward_last"))
    evaluation = summary["eval"]
    assert evaluation["scenarios"] == 4
    for policy in ("base", "trained"):
        assert all(is_share(evaluation[policy][mode]) for mode in ("sampled", "greedy"))
    difference = evaluation["difference"]
    assert difference.keys() == {"mean", "low", "high"}
    assert -1 <= difference["low"] <= difference["mean"] <= difference["high"] <= 1
    gain = evaluation["trained"]["sampled"] - evaluation["base"]["sampled"]
    assert difference["mean"] == pytest.approx(gain)
    assert isinstance(summary["promoted"], bool)
    assert summary["checkpoint"] == {
        "model": "email-agent",
        "version": 1,
        "step": 2,
        "run": "first",
    }


def test_the_run_folder_holds_what_a_person_wants_to_see(finished: Finished) -> None:
    names = {path.name for path in finished.folder.iterdir()}
    assert names >= {"summary.json", "metrics.jsonl", "report.html", "evaluation.html"}
    assert len((finished.folder / "metrics.jsonl").read_text().splitlines()) == 2
    for name in ("report.html", "evaluation.html"):
        assert (finished.folder / name).read_text().startswith("<!doctype html>")


def test_the_run_folder_holds_the_logs(finished: Finished) -> None:
    logs = [path for path in finished.folder.rglob("*log*") if path.is_file()]
    assert any(b"train: step 2 of 2" in path.read_bytes() for path in logs)


def steps_of(folder: Path) -> list[int]:
    path = folder / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line)["training_step"] for line in lines]


def test_a_signal_stops_a_run_that_can_be_continued(finished: Finished, project: Project) -> None:
    folder, reached = project.folder / "runs" / "signalled", 0
    arguments = ["--pipeline", "train", "--name", "signalled"]
    endless = settings(
        *SMALL,
        "model_name=interrupted-agent",
        "training.max_steps=999",
        "training.empty_steps_limit=99",
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        command = project.start(*arguments, *endless)
        deadline = time.monotonic() + 120
        while len(steps_of(folder)) <= reached:
            assert command.process.is_alive(), command.end()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(command.process.pid or 0, number)
        ended = command.end()
        reached = steps_of(folder)[-1]
        assert steps_of(folder) == list(range(1, reached + 1))
        assert not (folder / "pending.json").exists()
        summary = json.loads((folder / "summary.json").read_text())
        assert ended.code == 130
        assert (
            f"stopped after step {reached}; run the same command again to continue" in ended.message
        )
        assert "Traceback" not in ended.err
        assert (summary["status"], summary["train"]) == ("interrupted", None)
        (version,) = Client().list_model_versions(
            model="interrupted-agent", sort_by="desc:number", size=1
        )
        metadata = version.run_metadata
        assert (metadata["stopped_by"], metadata["step"]) == ("interrupted", reached)
        assert metadata["checkpoints"].keys() >= {str(reached)}


def test_without_its_packages_it_says_how_to_get_them(project: Project) -> None:
    """As a newcomer does who forgot to activate the environment."""
    command = [sys.executable, "-S", "run.py", "--pipeline", "data"]
    ended = subprocess.run(
        command, cwd=project.folder, capture_output=True, text=True, env={"PATH": ""}, check=False
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: there is no module langchain_core: activate")
    assert ended.stderr.count("\n") == 1
