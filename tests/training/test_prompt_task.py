"""Training on a task in words: by a verifier, and by a judge where no answers are known."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agent.judge import JudgeConfig
from backends import BackendConfig
from environment.base import EnvironmentUnavailable
from environment.jsonl import write_jsonl
from environment.prompt_task import PromptTaskConfig, PromptTaskEnvironment, open_environment
from environment.prompt_task.models import Example
from models.pocket_math.examples import sums
from tests.fakes.judge_server import JudgeServer, first_is_best
from training.config import RolloutConfig, TrainingConfig
from training.run.run_log import Record
from training.run.runner import run_training
from training.spec import RunSpec

BACKEND = BackendConfig.model_validate(
    {
        "kind": "embedded",
        "base_model": str(Path(__file__).parents[2] / "models" / "pocket_math"),
        "device": "cpu",
        "lora": {"rank": 8, "alpha": 16},
        "max_sequence_tokens": 512,
        "micro_batch_tokens": 2048,
    }
)


def opened(folder: Path, examples: list[Example], **settings: Any) -> PromptTaskEnvironment:
    write_jsonl(folder / "e.jsonl", examples)
    return open_environment({"scenarios": folder / "e.jsonl"}, PromptTaskConfig(**settings), 1)


def train(
    folder: Path, environment: PromptTaskEnvironment, judge: JudgeConfig | None = None
) -> list[Record]:
    spec = RunSpec(
        project="art-rl",
        name="run",
        seed=0,
        backend=BACKEND,
        training=TrainingConfig(
            reward="ruler" if judge else "verifiable",
            groups_per_step=4,
            rollouts_per_group=8,
            learning_rate=1e-3,
            max_steps=2,
        ),
        rollout=RolloutConfig(max_turns=1, max_reply_tokens=32, max_tokens=512, timeout_s=60),
        environment={"name": "prompt_task"},
        judge=judge or JudgeConfig(),
    )
    return asyncio.run(run_training(spec, folder / "run", environment, {})).result.records


def test_a_verifier_trains(tmp_path: Path) -> None:
    records = train(tmp_path, opened(tmp_path, sums(20, 0), verifier="numeric"))
    assert len(records) == 2
    for record in records:
        assert record["data/step_trained_trajectories"] >= 8
        assert 0 < record["train/success"] < 1
        assert record["data/first_error"] == ""
        assert record["loss/probs_corr"] > 0.99


def test_a_judge_trains_where_no_answers_are_known_and_nothing_is_held_out(tmp_path: Path) -> None:
    examples = [Example(prompt=example.prompt) for example in sums(8, 0)]
    environment = opened(tmp_path, examples, held_out_share=0)
    with JudgeServer(first_is_best) as server:
        judge = JudgeConfig(model="openai/judge", api_base=server.base_url, second_order_share=0)
        records = train(tmp_path, environment, judge)
        assert server.requests
    for record in records:
        assert record["data/step_trained_trajectories"] >= 8
        assert record["judge/failed_groups"] == 0
        assert 0 < record["train/reward"] < 1
        assert record["train/success"] == 0


def test_with_neither_nothing_is_begun(tmp_path: Path) -> None:
    environment = opened(tmp_path, sums(8, 0))
    with pytest.raises(EnvironmentUnavailable, match=r"environment\.verifier"):
        train(tmp_path, environment)
    assert not (tmp_path / "run").exists()
