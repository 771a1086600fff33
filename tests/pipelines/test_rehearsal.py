"""``--dry-run rollouts``: the rollouts of a training run, and no training."""

from __future__ import annotations

import json
from typing import Any

from tests.fakes.chat_server import ChatServer, by_turn, calls, fails
from tests.pipelines.conftest import SMALL, Finished, Project, settings

ANSWER = ("return_final_answer_tool", {"answer": "I don't know", "source_ids": []})


def rehearse(project: Project, name: str, *more: str, **environment: str) -> Any:
    arguments = ["--pipeline", "train", "--dry-run", "rollouts", "--name", name]
    return project.run(*arguments, *settings(*SMALL), *more, **environment)


def rollouts_of(project: Project, name: str) -> dict[str, Any]:
    summary = json.loads((project.folder / "runs" / name / "summary.json").read_text())
    assert (summary["train"], summary["checkpoint"]) == (None, None)
    rollouts: dict[str, Any] = summary["rollouts"]
    return rollouts


def test_our_own_policy_plays_and_learns_nothing(finished: Finished, project: Project) -> None:
    ended = rehearse(project, "rehearsed")
    assert ended.code == 0, ended.err
    lines = [line for line in ended.out.splitlines() if line.startswith("step ")]
    assert [line.partition(":")[0] for line in lines] == ["step 1 of 2", "step 2 of 2"]
    rollouts = rollouts_of(project, "rehearsed")
    assert (rollouts["model"], rollouts["count"]) == ("models/pocket", 2 * 3 * 6)
    assert sum(rollouts["reasons"].values()) == rollouts["count"]
    folder = project.folder / "runs" / "rehearsed"
    assert len(list((folder / "trajectories").iterdir())) == 2
    assert not (folder / "art").exists()


def test_any_other_model_plays_too(finished: Finished, project: Project) -> None:
    with ChatServer(by_turn(calls(ANSWER))) as server:
        ended = rehearse(project, "asked", "--model", "some/model", "--base-url", server.base_url)
    assert ended.code == 0, ended.err
    rollouts = rollouts_of(project, "asked")
    assert rollouts == {
        "model": "some/model",
        "count": 36,
        "solved": 0,
        "reward": rollouts["reward"],
        "reasons": {"gave_up": 36},
    }
    assert "0 of 3 groups differ" in ended.out


def test_a_model_that_fails_is_told_by_its_reason(finished: Finished, project: Project) -> None:
    with ChatServer(fails(400)) as server:
        ended = rehearse(project, "failing", "--model", "m", "--base-url", server.base_url)
    assert ended.code == 0
    assert rollouts_of(project, "failing")["reasons"] == {"bad_request": 36}


def test_a_model_without_a_key_is_refused_before_any_work(project: Project) -> None:
    ended = rehearse(project, "no-key", "--model", "openai/gpt-4.1")
    assert ended.code == 2
    assert "OPENAI_API_KEY" in ended.message
    assert not (project.folder / "runs" / "no-key").exists()
