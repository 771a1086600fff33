"""Rollouts of the pocket policy, stored and scored again."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from environment.base import Reward
from environment.email_search.models import EmailOutcome, EmailScenario
from tests.agent.words import WordEnvironment
from tests.training.rows import row
from tests.training.world import BACKEND, ROLLOUT, RankedEnvironment
from training.config import EvaluationConfig
from training.evaluation.compare import read_facts, run_policies, write_rows
from training.evaluation.evaluate import EvaluationRow
from training.evaluation.rescoring import RescoreError, read_stored, rescore

FACTS = {"run": "first", "step": 3}


@pytest.fixture(scope="module")
def stored(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    environment, folder = RankedEnvironment(files), tmp_path_factory.mktemp("stored")
    config = EvaluationConfig(scenarios=6)
    run = run_policies({"base": None}, environment, BACKEND, ROLLOUT, config, 3, folder)
    rows = asyncio.run(run)
    environment.close()
    return write_rows(rows, folder / "rows.parquet", FACTS)


class Stricter(RankedEnvironment):
    """Another reward: nothing is right."""

    verdicts = MappingProxyType({"too_easy": "right, but not right enough"})

    def reward(self, scenario: EmailScenario, outcome: EmailOutcome) -> Reward:
        return replace(super().reward(scenario, outcome), success=False, reason="too_easy")


def test_the_same_reward_gives_the_same_rows(stored: Path, environment: RankedEnvironment) -> None:
    rows = read_stored(stored)
    assert any(r.success for r in rows)
    assert not all(r.success for r in rows)
    assert rescore(rows, environment) == rows
    assert read_facts(stored) == FACTS


def test_another_reward_scores_what_was_done_then(stored: Path, files: dict[str, Path]) -> None:
    environment = Stricter(files)
    rescored = rescore(read_stored(stored), environment)
    environment.close()
    assert {(r.success, r.matched, r.reason) for r in rescored} == {(False, False, "too_easy")}
    assert [r.turns for r in rescored] == [r.turns for r in read_stored(stored)]


def test_a_rollout_that_failed_stays_failed_and_a_judges_word_is_dropped(
    stored: Path, environment: RankedEnvironment
) -> None:
    one = next(r for r in read_stored(stored) if r.success)
    failed = one.model_copy(update={"error": "timeout", "reason": "timeout"})
    unjudged = one.model_copy(
        update={"error": "judge_failed", "judge_error": "judge_failed", "success": False}
    )
    overruled = one.model_copy(update={"judged": False, "success": False})
    rescored = rescore([failed, unjudged, overruled], environment)
    assert (rescored[0].error, rescored[0].reason) == ("timeout", "timeout")
    assert rescored[1] == rescored[2] == one


def test_what_a_rollout_said_is_stored_with_it(stored: Path) -> None:
    for stored_row in read_stored(stored):
        roles = [message["role"] for message in stored_row.messages]
        assert roles[:3] == ["system", "user", "assistant"]
        assert stored_row.question in stored_row.messages[1]["content"]
        assert stored_row.outcome["turns"] == stored_row.turns == roles.count("assistant")


def test_a_file_without_rollouts_is_told(tmp_path: Path) -> None:
    results: list[EvaluationRow] = [row("base", "a", True)]
    path = write_rows(results, tmp_path / "rows.parquet")
    with pytest.raises(RescoreError, match="not its rollouts: evaluate again"):
        read_stored(path)


def test_what_is_no_evaluation_is_told(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not parquet")
    with pytest.raises(RescoreError, match=r"notes\.txt holds no evaluation"):
        read_stored(tmp_path / "notes.txt")


def test_rollouts_of_another_environment_are_told(stored: Path) -> None:
    with pytest.raises(RescoreError, match="was not stored by the environment words as it is now"):
        rescore(read_stored(stored), WordEnvironment())
