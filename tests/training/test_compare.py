from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.training.conftest import Finished
from tests.training.rows import row
from tests.training.world import BACKEND, ROLLOUT, RankedEnvironment
from training.compare import read_rows, run_policies, write_rows
from training.config import EvaluationConfig
from training.evaluation import EvaluationRow, compare


@pytest.fixture(scope="module")
def evaluated(
    finished: Finished, files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> list[EvaluationRow]:
    environment = RankedEnvironment(files)
    found = asyncio.run(
        run_policies(
            {"base": None, "trained": finished.output.adapter},
            environment,
            BACKEND,
            ROLLOUT,
            EvaluationConfig(scenarios=4),
            3,
            tmp_path_factory.mktemp("evaluation"),
        )
    )
    environment.close()
    return found


def test_every_policy_meets_the_same_held_out_scenarios_in_both_modes(
    evaluated: list[EvaluationRow], environment: RankedEnvironment
) -> None:
    scenarios = environment.scenarios("test", 4, 3)
    expected = [
        (policy, mode, scenario.id, scenario.question, scenario.answer)
        for policy in ("base", "trained")
        for mode in ("greedy", "sampled")
        for scenario in scenarios
    ]
    assert expected == [(r.policy, r.mode, r.scenario_id, r.question, r.gold) for r in evaluated]
    for found in evaluated:
        assert found.turns >= 1
        assert found.tokens > 100
        assert found.seconds > 0
        assert set(found.metrics) >= {"source_precision", "source_recall"}
    assert compare(evaluated, 0.95).differences.keys() == {"base"}


def test_an_evaluation_can_be_repeated(
    evaluated: list[EvaluationRow], environment: RankedEnvironment, tmp_path: Path
) -> None:
    again = asyncio.run(
        run_policies(
            {"base": None},
            environment,
            BACKEND,
            ROLLOUT,
            EvaluationConfig(scenarios=4),
            3,
            tmp_path,
        )
    )
    before = [r for r in evaluated if r.policy == "base"]
    chance = {"seconds", "messages"}  # messages hold the server's ids of calls
    assert [r.model_dump(exclude=chance) for r in again] == [
        r.model_dump(exclude=chance) for r in before
    ]


def test_rows_survive_their_file(evaluated: list[EvaluationRow], tmp_path: Path) -> None:
    assert read_rows(write_rows(evaluated, tmp_path / "rows.parquet")) == evaluated
    odd = [row("base", "a", False, answer="\N{PILE OF POO}", metrics={}), row("base", "b", True)]
    assert read_rows(write_rows(odd, tmp_path / "rows.parquet")) == odd


def test_without_held_out_scenarios_there_is_nothing_to_evaluate(
    environment: RankedEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "_scenarios", [])
    run = run_policies(
        {"base": None}, environment, BACKEND, ROLLOUT, EvaluationConfig(), 0, tmp_path
    )
    with pytest.raises(ValueError, match="no held-out scenario"):
        asyncio.run(run)
