from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from agent.judge import RulerJudge
from backends import PolicyHandle, checkpoints, open_policy
from backends.embedded import engine, policy
from environment.email_search.models import EmailScenario
from tests.fakes.judge_server import Deserved, JudgeServer, good, prose, silence
from tests.training.conftest import EVALUATED, Finished
from tests.training.loop.test_judging import judge_at
from tests.training.world import (
    BACKEND,
    GROUPS,
    ROLLOUT,
    SIZE,
    ConstantEnvironment,
    RankedEnvironment,
    SoonConstantEnvironment,
    run_spec,
    train_run,
    training_config,
)
from training.config import BudgetConfig, RolloutConfig
from training.loop.explain import Mismatch, mismatch
from training.loop.loop import EmptySteps, TrainingResult, TrainingRun, train_policy
from training.loop.schedule import scenarios_of_step
from training.run.run_log import STEP, Record, RunLog
from training.run.signals import Interrupted

NUMBERS = {
    "train/reward",
    "train/success",
    "train/turns",
    "train/found_gold",
    "train/source_precision",
    "data/step_num_trajectories",
    "data/step_num_groups_submitted",
    "data/step_num_groups_trainable",
    "data/step_trained_trajectories",
    "data/step_prompt_tokens",
    "data/step_completion_tokens",
    "data/trained_tokens",
    "loss/train",
    "loss/grad_norm",
    "loss/entropy",
    "loss/probs_corr",
    "time/step_rollout_s",
    "time/step_trainer_s",
    "time/step_wall_s",
}


def train(
    folder: Path,
    environment: RankedEnvironment,
    max_steps: int,
    *,
    rollout: RolloutConfig = ROLLOUT,
    judge: RulerJudge | None = None,
    evaluate: Callable[[], Awaitable[Record]] | None = None,
    on_groups: Callable[[int, Any], None] = lambda step, groups: None,
    **config: Any,
) -> TrainingResult:
    """The loop on a fresh policy in ``folder``, or on the one that lies there."""

    async def loop() -> TrainingResult:
        policy: PolicyHandle = await open_policy(
            BACKEND, project="art-rl", name="run", path=folder / "art"
        )
        async with policy:
            return await train_policy(
                TrainingRun(
                    policy=policy,
                    environment=environment,
                    config=training_config(max_steps, **config),
                    rollout=rollout,
                    seed=0,
                    folder=folder,
                    run_log=RunLog(folder),
                    judge=judge,
                    evaluate=evaluate,
                    on_groups=on_groups,
                )
            )

    return asyncio.run(loop())


def steps_in(folder: Path) -> list[int]:
    return [record[STEP] for record in RunLog(folder).records()]


def checkpoints_in(folder: Path) -> list[int]:
    return checkpoints.steps(folder / "art" / "art-rl" / "models" / "run")


def ids(records: list[Record]) -> list[list[str]]:
    return [record["data/scenario_ids"] for record in records]


def test_every_step_is_recorded_in_numbers(finished: Finished) -> None:
    assert [record[STEP] for record in finished.records] == [1, 2, 3]
    assert RunLog(finished.folder).records() == finished.records
    for record in finished.records:
        assert record.keys() >= NUMBERS
        assert all(isinstance(record[name], int | float) for name in NUMBERS)
        assert record["data/dropped"] == {}
        assert record["data/step_trained_trajectories"] == GROUPS * SIZE
        assert record["loss/probs_corr"] > 0.999
        assert record["loss/grad_norm"] > 0
        assert record["time/step_wall_s"] > record["time/step_rollout_s"]


def test_every_second_step_is_evaluated_if_so_configured(finished: Finished) -> None:
    assert ["val/success" in record for record in finished.records] == [False, True, False]
    assert 0 <= finished.records[1]["val/success"] <= 1


def test_the_steps_take_the_scenarios_of_the_schedule(
    finished: Finished, environment: RankedEnvironment
) -> None:
    scenarios = environment.scenarios("train", None, 0)
    expected = [[s.id for s in scenarios_of_step(scenarios, n, GROUPS, 0)] for n in range(3)]
    assert ids(finished.records) == expected


def test_only_the_newest_checkpoints_are_kept(finished: Finished) -> None:
    assert checkpoints_in(finished.folder) == [2, 3]


def test_the_same_seed_gives_the_same_run_even_in_two_attempts(
    finished: Finished, environment: RankedEnvironment, tmp_path: Path
) -> None:
    train(tmp_path, environment, max_steps=2)
    again = train(tmp_path, environment, max_steps=3).records
    assert ids(again) == ids(finished.records)
    for key in ("train/reward", "train/success", "train/turns", "data/step_completion_tokens"):
        assert [r[key] for r in again] == [r[key] for r in finished.records], key
    for key in ("loss/train", "loss/grad_norm", "loss/entropy"):
        expected = [r[key] for r in finished.records]
        assert [r[key] for r in again] == pytest.approx(expected, rel=1e-2, abs=1e-5), key


def test_another_seed_gives_another_run(finished: Finished, environment: RankedEnvironment) -> None:
    other = scenarios_of_step(environment.scenarios("train", None, 1), 0, GROUPS, 1)
    assert [scenario.id for scenario in other] != ids(finished.records)[0]


def test_a_finished_run_continues_to_a_higher_number_of_steps(
    finished: Finished, environment: RankedEnvironment, tmp_path: Path
) -> None:
    folder = tmp_path / "continued"
    shutil.copytree(finished.folder, folder)
    before = (folder / "samples_before.json").read_text()
    output = train_run(run_spec(max_steps=4, **EVALUATED), folder, environment)
    assert output.result.step == 4
    assert output.result.records[:3] == finished.records
    assert steps_in(folder) == [1, 2, 3, 4]
    assert checkpoints_in(folder) == [3, 4]
    assert (folder / "samples_before.json").read_text() == before
    assert len(list(output.trajectories.iterdir())) == 4


def test_a_finished_run_that_is_started_again_changes_nothing(
    finished: Finished, environment: RankedEnvironment, tmp_path: Path
) -> None:
    folder = tmp_path / "again"
    shutil.copytree(finished.folder, folder)
    result = train(folder, environment, max_steps=2)
    assert (result.step, result.records) == (3, finished.records)


def test_every_rollout_of_a_step_is_kept(finished: Finished) -> None:
    for record in finished.records:
        rows = pq.read_table(
            finished.output.trajectories / f"{record[STEP]:05d}.parquet"
        ).to_pylist()
        assert [row["group"] for row in rows] == [0] * SIZE + [1] * SIZE
        assert [rows[0]["scenario_id"], rows[-1]["scenario_id"]] == record["data/scenario_ids"]
        assert sum(row["reward"] for row in rows) / len(rows) == pytest.approx(
            record["train/reward"]
        )


@pytest.mark.parametrize(("limit", "max_steps", "stopped_after"), [(2, 9, 2), (5, 1, 1)])
def test_a_run_with_nothing_to_train_on_stops_and_says_why(
    files: dict[str, Path], tmp_path: Path, limit: int, max_steps: int, stopped_after: int
) -> None:
    environment = ConstantEnvironment(files)
    with pytest.raises(EmptySteps) as stopped:
        train(tmp_path, environment, max_steps, empty_steps_limit=limit)
    environment.close()
    text = str(stopped.value)
    counted = f"{stopped_after * GROUPS * SIZE} zero_variance"
    assert f"{stopped_after} steps in a row had nothing to train on ({counted})" in text
    assert "too easy or too hard" in text
    assert steps_in(tmp_path) == list(range(1, stopped_after + 1))
    assert checkpoints_in(tmp_path)[-1] == stopped_after


def test_a_run_whose_groups_no_longer_differ_ends_well(
    files: dict[str, Path], tmp_path: Path
) -> None:
    environment = SoonConstantEnvironment(files)
    first = train(tmp_path, environment, 9, empty_steps_limit=2)
    assert (first.stopped_by, first.step) == ("converged", 3)
    assert [r["data/step_trained_trajectories"] for r in first.records] == [GROUPS * SIZE, 0, 0]
    again = train(tmp_path, environment, 9, empty_steps_limit=2)
    environment.close()
    assert (again.stopped_by, again.step, again.records) == ("converged", 3, first.records)


def test_empty_steps_name_the_first_error(environment: RankedEnvironment, tmp_path: Path) -> None:
    hasty = ROLLOUT.model_copy(update={"timeout_s": 0.001})
    with pytest.raises(EmptySteps, match=r"8 timeout.*first error was: longer than 0.001 s"):
        train(tmp_path, environment, 5, rollout=hasty, empty_steps_limit=1)
    (record,) = RunLog(tmp_path).records()
    assert record["data/dropped"] == {"timeout": GROUPS * SIZE}
    # The code environment's own verdict on a program is called timeout too.
    assert record.get("train/verdict_timeout", 0) == 0


def test_a_rollout_that_ran_into_its_own_bound_is_trained_on(
    environment: RankedEnvironment, tmp_path: Path
) -> None:
    # Its prompt alone is longer, and the trainer takes 2,048 tokens.
    short = ROLLOUT.model_copy(update={"max_tokens": 64})
    (record,) = train(tmp_path, environment, 1, rollout=short).records
    assert record["data/dropped"] == {}


def test_a_step_that_trains_starts_the_count_of_empty_ones_anew(
    files: dict[str, Path], tmp_path: Path
) -> None:
    class Sometimes(RankedEnvironment):
        verdicts = RankedEnvironment.verdicts | ConstantEnvironment.verdicts

        def reward(self, scenario: Any, outcome: Any) -> Any:
            own = super().reward(scenario, outcome)
            constant = ConstantEnvironment.reward(self, scenario, outcome)  # type: ignore[arg-type]
            return own if step == 2 else constant

    step = 1

    def on_groups(done: int, groups: Any) -> None:
        nonlocal step
        step = done + 1

    environment = Sometimes(files)
    result = train(tmp_path, environment, 9, on_groups=on_groups, empty_steps_limit=2)
    environment.close()
    assert result.stopped_by == "converged"
    assert [r["data/step_num_groups_trainable"] for r in result.records] == [0, 2, 0, 0]


def test_an_environment_without_training_scenarios_is_an_error(
    environment: RankedEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "_scenarios", [])
    with pytest.raises(ValueError, match="no scenario to train on"):
        train(tmp_path, environment, 1)


def test_a_budget_that_is_used_up_stops_before_the_next_step(
    environment: RankedEnvironment, tmp_path: Path
) -> None:
    first = train(tmp_path, environment, 9, budget=BudgetConfig(minutes=1e-9))
    assert (first.stopped_by, first.step, first.records) == ("minutes", 0, [])
    second = train(tmp_path, environment, 1)
    assert (second.stopped_by, second.step) == ("max_steps", 1)
    used = second.spent["minutes"]
    assert second.records[-1]["budget/minutes"] <= used
    third = train(tmp_path, environment, 900, budget=BudgetConfig(minutes=used + 0.02))
    assert third.stopped_by == "minutes"
    assert third.spent["minutes"] >= used + 0.02
    assert 2 <= third.step < 900
    assert steps_in(tmp_path) == list(range(1, third.step + 1))
    assert checkpoints_in(tmp_path)[-1] == third.step


def test_a_continued_run_has_only_what_earlier_attempts_left(
    environment: RankedEnvironment, tmp_path: Path
) -> None:
    first = train(tmp_path, environment, 1)
    budget = BudgetConfig(minutes=first.spent["minutes"] / 2)
    again = train(tmp_path, environment, 9, budget=budget)
    assert (again.stopped_by, again.step) == ("minutes", 1)
    assert checkpoints_in(tmp_path)[-1] == 1


def test_dollars_spent_end_a_run(environment: RankedEnvironment, tmp_path: Path) -> None:
    budget = BudgetConfig(cost_usd=1e-3, usd_per_million_tokens=1)
    result = train(tmp_path, environment, 9, budget=budget)
    (record,) = result.records
    tokens = record["data/step_prompt_tokens"] + record["data/step_completion_tokens"]
    assert (result.stopped_by, result.step) == ("cost_usd", 1)
    assert result.spent["cost_usd"] == pytest.approx(tokens / 1e6)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_rollouts_abandons_the_step(
    number: signal.Signals, files: dict[str, Path], tmp_path: Path
) -> None:
    class Signalling(RankedEnvironment):
        def session(self, scenario: EmailScenario) -> Any:
            if steps_in(tmp_path) == [1]:
                os.kill(os.getpid(), number)
            return super().session(scenario)

    environment = Signalling(files)
    handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match="stopped after step 1; run the same command again"):
        train(tmp_path, environment, 3)
    environment.close()
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == handlers
    assert steps_in(tmp_path) == checkpoints_in(tmp_path)[1:] == [1]


def test_a_signal_during_training_lets_the_step_end(
    finished: Finished, environment: RankedEnvironment, tmp_path: Path
) -> None:
    def on_groups(step: int, groups: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match="stopped after step 1;"):
        train(tmp_path, environment, 3, on_groups=on_groups)
    assert steps_in(tmp_path) == checkpoints_in(tmp_path)[1:] == [1]
    with pytest.raises(Interrupted, match="stopped after step 2;"):
        train(tmp_path, environment, 3, on_groups=on_groups)
    assert ids(RunLog(tmp_path).records()) == ids(finished.records)[:2]


def test_a_crash_between_checkpoint_and_log_line_loses_no_metric(
    environment: RankedEnvironment, tmp_path: Path
) -> None:
    async def crash() -> Record:
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        train(tmp_path, environment, 2, evaluate=crash, eval_every=1)
    assert (steps_in(tmp_path), checkpoints_in(tmp_path)) == ([], [0, 1])
    first, second = train(tmp_path, environment, 2).records
    assert (first[STEP], second[STEP]) == (1, 2)
    assert first["loss/probs_corr"] > 0.999
    assert first.keys() >= NUMBERS - {"time/step_trainer_s", "time/step_wall_s"}


@pytest.fixture
def other_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sampler merges into weights that are not the trainer's."""
    merge = policy._merge

    def merge_and_shake(adapter: Any, into: Any) -> None:
        merge(adapter, into)
        torch.manual_seed(0)
        with torch.no_grad():
            for layer in into.model.layers:
                weight = layer.mlp.down_proj.weight
                weight.add_(torch.randn_like(weight) * weight.std())

    monkeypatch.setattr(policy, "_merge", merge_and_shake)
    # Noticed at the start otherwise (tests/backends/test_families.py).
    monkeypatch.setattr(engine, "check_sampler", lambda policy: None)


@pytest.mark.usefixtures("other_weights")
def test_a_sampler_that_disagrees_with_the_trainer_ends_the_run(
    environment: RankedEnvironment, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Mismatch, match=r"step 1: .* correlate by only 0\.[0-9]+.*min_probs_corr"):
        train(tmp_path, environment, 2)
    # The account has the step, and nothing takes it for a good one later.
    (record,) = RunLog(tmp_path).records()
    assert record["loss/probs_corr"] < 0.99
    with pytest.raises(Mismatch, match="step 1: "):
        train(tmp_path, environment, 1)
    assert "correlate by only" not in caplog.text
    assert train(tmp_path, environment, 2, on_mismatch="warn").step == 2
    assert "step 2: the probabilities of sampler and trainer correlate by only" in caplog.text


@pytest.mark.parametrize("value", [float("nan"), 0.5, 0.98999])
def test_what_is_not_above_the_bound_is_a_mismatch(value: float) -> None:
    text = mismatch({STEP: 3, "loss/probs_corr": value}, 0.99)
    assert text is not None
    assert "on_mismatch: warn" in text
    assert mismatch({STEP: 3, "loss/probs_corr": 0.99}, 0.99) is None
    assert mismatch({STEP: 3}, 0.99) is None


def in_order(deserved: Deserved) -> Any:
    return good({id_: number / 10 for number, id_ in enumerate(deserved)})


def test_a_judges_scores_are_the_rewards(environment: RankedEnvironment, tmp_path: Path) -> None:
    with JudgeServer(in_order) as server:
        judge = judge_at(server)
        (record,) = train(tmp_path, environment, 1, judge=judge).records
    assert record["train/reward"] == pytest.approx(sum(range(SIZE)) / SIZE / 10)
    assert record["train/independent_reward"] != record["train/reward"]
    assert record["time/step_judge_s"] > 0
    assert -1 <= record["judge/agreement"] <= 1
    assert (record["judge/requests"], record["judge/failed_groups"]) == (GROUPS, 0)
    assert record["data/step_trained_trajectories"] == GROUPS * SIZE


def test_a_judge_that_fails_drops_the_group(environment: RankedEnvironment, tmp_path: Path) -> None:
    with JudgeServer(prose) as server:
        judge = judge_at(server)
        with pytest.raises(
            EmptySteps, match=r"8 judge_failed.*The judge failed: openai/judge gave"
        ):
            train(tmp_path, environment, 1, judge=judge)
    (record,) = RunLog(tmp_path).records()
    assert record["data/dropped"] == {"judge_failed": GROUPS * SIZE}


def test_a_judge_that_keeps_failing_stops_the_run(
    environment: RankedEnvironment, tmp_path: Path
) -> None:
    with JudgeServer(prose) as server, pytest.raises(EmptySteps) as stopped:
        train(tmp_path, environment, 9, judge=judge_at(server), empty_steps_limit=2)
    assert "2 steps in a row had nothing to train on (16 judge_failed)" in str(stopped.value)
    assert "not JSON of the form asked for" in str(stopped.value)
    assert "judge.model or judge.api_base" in str(stopped.value)
    assert steps_in(tmp_path) == [1, 2]
    assert checkpoints_in(tmp_path)[-1] == 2


def test_a_judge_that_has_cost_all_it_may_ends_the_run_at_its_last_checkpoint(
    environment: RankedEnvironment, tmp_path: Path
) -> None:
    dollar = {"usd_per_million_in": 1e6, "usd_per_million_out": 0.0}
    cost = {**dollar, "max_cost_usd": GROUPS + 0.5, "concurrency": 1}

    with JudgeServer(in_order) as server:
        first = train(tmp_path, environment, 9, judge=judge_at(server, **cost))
        assert (first.stopped_by, first.step) == ("judge_budget", 1)
        assert first.records[0]["costs/judge_usd"] == GROUPS
        assert steps_in(tmp_path) == checkpoints_in(tmp_path)[1:] == [1]
        # What it has cost counts in the next attempt too.
        requests_before = len(server.requests)
        again = train(tmp_path, environment, 9, judge=judge_at(server, **cost))
        assert (again.stopped_by, again.step) == ("judge_budget", 1)
        assert len(server.requests) == requests_before + 1
        more = {**cost, "max_cost_usd": 2 * GROUPS}
        last = train(tmp_path, environment, 9, judge=judge_at(server, **more))
        assert (last.stopped_by, last.step) == ("judge_budget", 2)


def test_a_signal_while_the_judge_is_silent_abandons_the_step(
    environment: RankedEnvironment, tmp_path: Path
) -> None:
    def silent(deserved: Deserved) -> Any:
        # A second signal would end the process: it may come after the run has.
        if len(server.requests) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return silence(deserved)

    with JudgeServer(silent) as server:
        started = time.monotonic()
        with pytest.raises(Interrupted, match="stopped after step 0;"):
            train(tmp_path, environment, 3, judge=judge_at(server))
        assert time.monotonic() - started < 15
    assert steps_in(tmp_path) == []


def test_a_judge_that_agrees_too_little_with_the_own_reward_is_told_aloud(
    environment: RankedEnvironment,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("training.loop.judging._STEPS_TO_TELL", 2)
    monkeypatch.setattr("training.loop.judging._LOW_AGREEMENT", 1.1)
    warning = "the judge disagrees with the environment's own reward"
    with JudgeServer(in_order) as server:
        train(tmp_path, environment, 1, judge=judge_at(server))
        assert warning not in caplog.text
        train(tmp_path, environment, 2, judge=judge_at(server))
    assert caplog.text.count(warning) == 1
