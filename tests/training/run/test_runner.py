from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from agent.judge import JudgeConfig
from environment.base import StrictModel
from tests.fakes.judge_server import JudgeServer, good
from tests.training import victims
from tests.training.conftest import EVALUATED, Finished, Start
from tests.training.run.test_tracking import history
from tests.training.world import DATA, POCKET, RankedEnvironment, run_spec, train_run
from training.config import BudgetConfig
from training.report import Sample
from training.run.run_log import STEP
from training.run.store import RunMismatch, read_policy_record


def test_a_finished_run_leaves_its_files(finished: Finished) -> None:
    assert {path.name for path in finished.folder.iterdir()} == {
        "adapter",
        "art",
        "metrics.jsonl",
        "report.html",
        "samples_before.json",
        "settings.json",
        "spent.json",
        "trajectories",
    }
    assert finished.output.result.stopped_by == "max_steps"
    assert read_policy_record(finished.output.adapter).step == finished.output.result.step == 3


def test_the_samples_before_are_greedy_rollouts_of_held_out_scenarios(
    finished: Finished, environment: RankedEnvironment
) -> None:
    lines = (finished.folder / "samples_before.json").read_text().splitlines()
    samples = [Sample.model_validate_json(line) for line in lines]
    scenarios = environment.scenarios("test", 3, 0)
    assert [(s.scenario_id, s.question) for s in samples] == [
        (s.id, s.view.question) for s in scenarios
    ]
    assert all(sample.messages[1]["content"].endswith(sample.question) for sample in samples)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"seed": 1}, "seed"),
        ({"data": {"database": "other", "scenarios": "s"}}, "data.database"),
        ({"learning_rate": 0.5}, "training.learning_rate"),
        ({"rollouts_per_group": 5}, "training.rollouts_per_group"),
        ({"rollout": {"max_turns": 5}}, "rollout.max_turns"),
        ({"backend": {"base_model": "other"}}, "backend.base_model"),
        ({"backend": {"lora": {"rank": 9, "alpha": 16}}}, "backend.lora.rank"),
    ],
)
def test_other_settings_are_another_run(
    finished: Finished, environment: RankedEnvironment, changes: dict[str, Any], key: str
) -> None:
    spec = run_spec(max_steps=4, **EVALUATED)
    data = changes.pop("data", DATA)
    for name, value in changes.items():
        section = getattr(spec, name, None)
        if section is None:
            changed = {"training": spec.training.model_copy(update={name: value})}
        elif isinstance(section, StrictModel):
            changed = {name: type(section).model_validate(section.model_dump() | value)}
        else:
            changed = {name: value}
        spec = spec.model_copy(update=changed)
    with pytest.raises(RunMismatch, match=f"with {key} = "):
        train_run(spec, finished.folder, environment, data)


def test_free_settings_may_change_between_attempts(
    finished: Finished, environment: RankedEnvironment, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished.folder, folder)
    changed = run_spec(
        max_steps=2,
        **EVALUATED,
        keep_checkpoints=9,
        empty_steps_limit=7,
        min_probs_corr=0.5,
        budget=BudgetConfig(minutes=60),
    )
    assert train_run(changed, folder, environment).result.records == finished.records


def test_a_run_that_a_budget_ended_keeps_its_checkpoint_and_says_which(
    finished: Finished, environment: RankedEnvironment, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished.folder, folder)
    budget = BudgetConfig(minutes=finished.output.result.spent["minutes"])
    output = train_run(run_spec(max_steps=9, **EVALUATED, budget=budget), folder, environment)
    assert (output.result.stopped_by, output.result.step) == ("minutes", 3)
    assert read_policy_record(output.adapter).step == 3
    assert "(training.budget.minutes) was used up" in (folder / "report.html").read_text()
    assert "training.budget" not in finished.output.report.split("Settings")[0]


def test_other_base_weights_are_another_run(environment: RankedEnvironment, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(POCKET, base, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    spec = run_spec(max_steps=1)
    backend = spec.backend.model_copy(update={"base_model": str(base)})
    spec = spec.model_copy(update={"backend": backend})
    train_run(spec, tmp_path / "run", environment)
    weights = load_file(base / "model.safetensors")
    save_file({k: w * 1.01 for k, w in weights.items()}, base / "model.safetensors")
    longer = spec.model_copy(update={"training": run_spec(2).training})
    with pytest.raises(RunMismatch, match=r"(?i)base"):
        train_run(longer, tmp_path / "run", environment)


def test_a_run_of_no_steps_leaves_the_untrained_policy(
    environment: RankedEnvironment, tmp_path: Path
) -> None:
    output = train_run(run_spec(max_steps=0), tmp_path, environment)
    assert (output.result.step, output.result.records) == (0, [])
    assert read_policy_record(output.adapter).step == 0
    assert "no data yet" in output.report


def test_a_run_with_a_judge_asks_the_configured_one(
    environment: RankedEnvironment, tmp_path: Path
) -> None:
    with JudgeServer(lambda deserved: good({i: n / 9 for n, i in enumerate(deserved)})) as server:
        spec = run_spec(
            max_steps=1,
            reward="ruler",
        )
        judge = JudgeConfig(model="openai/judge", api_base=server.base_url)
        output = train_run(spec.model_copy(update={"judge": judge}), tmp_path, environment)
    (record,) = output.result.records
    assert {request["model"] for request in server.requests} == {"judge"}
    assert "train/independent_reward" in record
    assert len(list((tmp_path / "judge").iterdir())) == len(server.requests)
    assert "rank correlation with the environment" in output.report


@pytest.mark.parametrize(
    ("changes", "another_run"),
    [
        ({"model": "openai/other"}, True),
        ({"window_tokens": 5000}, True),
        ({"max_cost_usd": 9.0, "concurrency": 1, "timeout_s": 5.0}, False),
    ],
)
def test_what_decides_a_judges_scores_is_part_of_a_run_judged_by_it(
    changes: dict[str, Any], another_run: bool
) -> None:
    changed = JudgeConfig(**changes)
    judged = run_spec(max_steps=1, reward="ruler")
    other = judged.model_copy(update={"judge": changed})
    assert (judged.lasting() != other.lasting()) == another_run
    verifiable = run_spec(max_steps=1)
    assert verifiable.model_copy(update={"judge": changed}).lasting() == verifiable.lasting()


def test_a_run_begun_before_there_were_tool_parsers_continues() -> None:
    """Its settings have none."""
    spec = run_spec(max_steps=1)
    assert "tool_parser" not in spec.lasting()["backend"]
    chosen = spec.backend.model_copy(update={"tool_parser": "mistral"})
    other = spec.model_copy(update={"backend": chosen})
    assert other.lasting()["backend"]["tool_parser"] == "mistral"


def test_a_resumed_run_is_tracked_without_gap_or_duplicate(
    files: dict[str, Path], tmp_path: Path, start: Start
) -> None:
    for max_steps in (1, 2):
        process = start(victims.train_tracked, tmp_path, files, max_steps)
        process.join()
        assert process.exitcode == 0
    runs = sorted(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    tracked = [row[STEP] for file in runs for row in history(file) if STEP in row]
    assert tracked == [1, 2]
