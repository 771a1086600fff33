from __future__ import annotations

import asyncio
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from agent.rollout import seed_from
from tests.fakes.chat_server import ChatServer, says
from tests.training.conftest import Finished
from tests.training.rows import row
from tests.training.world import BACKEND, ROLLOUT, RankedEnvironment
from training.config import EvaluatedModel, EvaluationConfig
from training.evaluation.compare import read_facts, read_rows, run_policies, write_rows
from training.evaluation.evaluate import MODES, EvaluationRow, sample_seed
from training.evaluation.summaries import compare


@pytest.fixture(scope="module")
def evaluated(
    finished: Finished, files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> list[EvaluationRow]:
    environment = RankedEnvironment(files)
    rows = asyncio.run(
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
    return rows


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
    for evaluated_row in evaluated:
        assert evaluated_row.turns >= 1
        assert evaluated_row.tokens > 100
        assert evaluated_row.seconds > 0
        assert set(evaluated_row.metrics) >= {"source_precision", "source_recall"}
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


CHANCE = {"seconds", "messages", "at_once"}  # messages hold the server's ids of calls


def test_more_samples_leave_the_first_as_it_is(
    evaluated: list[EvaluationRow], environment: RankedEnvironment, tmp_path: Path
) -> None:
    config = EvaluationConfig(scenarios=4, samples=3)
    run = run_policies({"base": None}, environment, BACKEND, ROLLOUT, config, 3, tmp_path)
    rows = asyncio.run(run)
    by_mode = [[(r.scenario_id, r.sample) for r in rows if r.mode == mode] for mode in MODES]
    ids = [scenario.id for scenario in environment.scenarios("test", 4, 3)]
    assert by_mode == [[(i, 0) for i in ids], [(i, n) for i in ids for n in range(3)]]
    first = [r.model_dump(exclude=CHANCE) for r in rows if r.sample == 0]
    assert first == [r.model_dump(exclude=CHANCE) for r in evaluated if r.policy == "base"]
    # The others are not the same once more.
    sampled = [r for r in rows if r.mode == "sampled"]
    assert len({(r.scenario_id, r.tokens, str(r.answer)) for r in sampled}) > len(ids)
    summary = compare(rows, 0.95).policies["base"]["sampled"]
    assert (summary.scenarios, summary.rollouts) == (4, 12)
    assert [p.k for p in summary.pass_at_k] == [1, 2, 3]
    assert summary.pass_at_k[0].mean == pytest.approx(summary.success)


def test_the_seed_of_the_first_sample_is_that_of_an_evaluation_without_samples() -> None:
    assert sample_seed(3, "q", 0) == seed_from(3, "q")
    assert len({sample_seed(3, "q", n) for n in range(50)}) == 50


def test_a_hosted_model_is_sampled_as_often_and_only_once_if_greedy(
    environment: RankedEnvironment, tmp_path: Path
) -> None:
    with ChatServer(*(says(f"try {n}") for n in range(9))) as server:
        own = {"model": "own", "api_base": server.base_url}
        models = (
            EvaluatedModel(name="warm", **own),
            EvaluatedModel(name="cold", temperature=0, **own),
        )
        config = EvaluationConfig(scenarios=3, samples=2, models=models)
        rows = asyncio.run(run_policies({}, environment, BACKEND, ROLLOUT, config, 3, tmp_path))
        assert len(server.requests) == len(rows) == 3 * 2 + 3
    ids = [scenario.id for scenario in environment.scenarios("test", 3, 3)]
    assert [(r.policy, r.mode, r.scenario_id, r.sample) for r in rows] == [
        *(("warm", "sampled", i, n) for i in ids for n in (0, 1)),
        *(("cold", "greedy", i, 0) for i in ids),
    ]
    assert len({r.messages[-1]["content"] for r in rows}) == len(rows)


def test_a_file_from_before_there_were_samples_still_loads(
    evaluated: list[EvaluationRow], tmp_path: Path
) -> None:
    path = write_rows(evaluated, tmp_path / "rows.parquet", {"run": "old"})
    pq.write_table(pq.read_table(path).drop_columns(["sample"]), path)
    assert "sample" not in pq.read_schema(path).names
    assert read_rows(path) == evaluated
    assert read_facts(path) == {"run": "old"}
