"""The environment over its file of examples, with the rollouts that the loop runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from agent.rollout import Limits, Rollout, run_rollout
from environment.base import StopReason
from environment.jsonl import write_jsonl
from environment.prompt_task import PromptTaskConfig, PromptTaskEnvironment, open_environment
from environment.prompt_task.examples import ExampleError
from environment.prompt_task.models import Example
from tests.chat_model import chat_model_on
from tests.fakes.chat_server import ChatServer, Script, calls, fails, says

SUMS = [Example(prompt=f"What is {n} + {n}?", answer=str(2 * n)) for n in range(1, 11)]
ONE = [Example(prompt="What is 17 + 25?", answer="42")]
LIMITS = Limits(max_turns=3, max_tokens=10_000, timeout_s=30)
Play = Callable[..., Any]


def opened(folder: Path, examples: list[Example], **settings: Any) -> PromptTaskEnvironment:
    write_jsonl(folder / "e.jsonl", examples)
    return open_environment({"scenarios": folder / "e.jsonl"}, PromptTaskConfig(**settings), 1)


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """One rollout of the only example, whose model follows a script."""

    async def run(script: Script, example: Example = ONE[0], **settings: Any) -> Rollout:
        environment = opened(tmp_path, [example], **settings)
        (scenario,) = environment.scenarios("train")
        with ChatServer(script) as server:
            async with chat_model_on(server, environment.tool_schemas, retries=0) as model:
                rollout = await run_rollout(model, environment, scenario, LIMITS)
        assert len(server.requests) == 1
        return rollout

    return run


@pytest.mark.parametrize(
    ("said", "settings", "value", "reason"),
    [
        ("17 + 25 = 42", {"verifier": "numeric"}, 1.0, "right"),
        ("17 + 25 = 41", {"verifier": "numeric"}, 0.0, "wrong"),
        ("17 + 25 = 41", {"verifier": "numeric", "tolerance": 1}, 1.0, "right"),
        ("It is 42", {"verifier": "exact"}, 0.0, "wrong"),
        (" 42\n", {"verifier": "exact"}, 1.0, "right"),
        ("It is 42", {"verifier": "contains"}, 1.0, "right"),
        ("It is 42", {"verifier": "regex"}, 1.0, "right"),
        ("It is 42", {}, 0.0, "not_verified"),
    ],
)
async def test_one_answer_ends_a_rollout_and_is_verified(
    play: Play, said: str, settings: dict[str, Any], value: float, reason: str
) -> None:
    rollout = await play(says(said), **settings)
    assert (rollout.stop, rollout.outcome.turns) == (StopReason.FINISHED, 1)
    assert (rollout.reward.value, rollout.reward.reason) == (value, reason)
    assert rollout.reward.success is (value == 1.0)
    assert rollout.outcome.answer == said
    assert rollout.messages[-1] == {"role": "assistant", "content": said}


async def test_the_agent_is_told_the_task_and_the_prompt(play: Play) -> None:
    rollout = await play(says("42"), verifier="numeric", task_prompt="Add.")
    assert rollout.messages[:2] == [
        {"role": "system", "content": "Add."},
        {"role": "user", "content": "What is 17 + 25?"},
    ]


@pytest.mark.parametrize(
    ("script", "stop"),
    [
        (says(""), StopReason.NO_TOOL_CALL),
        (says("17 + 25 is a", finish_reason="length"), StopReason.OVER_LENGTH),
        (fails(400, code="context_length_exceeded"), StopReason.OVER_LENGTH),
        (fails(500), StopReason.ERROR),
    ],
)
async def test_a_rollout_without_an_answer_says_why(
    play: Play, script: Script, stop: StopReason
) -> None:
    rollout = await play(script, verifier="contains")
    assert (rollout.stop, rollout.reward.value, rollout.reward.reason) == (stop, 0.0, str(stop))
    assert rollout.outcome.answer is None


async def test_a_pattern_without_end_fails_the_rollout_and_not_the_agent(play: Play) -> None:
    endless = Example(prompt="Say a.", answer="(a|aa)+$")
    rollout = await play(says("a" * 200 + "b"), endless, verifier="regex")
    assert (rollout.stop, rollout.failure) == (StopReason.ERROR, "slow_pattern")
    assert "took longer" in rollout.error


async def test_a_tool_that_there_is_not_is_no_answer(tmp_path: Path) -> None:
    environment = opened(tmp_path, ONE, verifier="numeric")
    with ChatServer(calls(("calculate", {"sum": "17 + 25"})), says("42")) as server:
        (scenario,) = environment.scenarios("train")
        async with chat_model_on(server, (), capture_tokens=False, retries=0) as model:
            rollout = await run_rollout(model, environment, scenario, LIMITS)
    assert (rollout.reward.value, rollout.outcome.tool_errors) == (1.0, 1)


def test_scenarios_are_a_function_of_the_seed(tmp_path: Path) -> None:
    environment = opened(tmp_path, SUMS, verifier="numeric", held_out_share=0.3)
    first = environment.scenarios("train", 5, seed=1)
    assert first == environment.scenarios("train", 5, seed=1)
    assert first != environment.scenarios("train", 5, seed=2)
    train, test = environment.scenarios("train"), environment.scenarios("test")
    assert (len(train), len(test)) == (7, 3)
    assert {s.prompt for s in train}.isdisjoint(s.prompt for s in test)
    assert {(s.view.question, s.view.gold) for s in (*train, *test)} == {
        (e.prompt, e.answer) for e in SUMS
    }


def test_answers_are_needed_by_a_verifier_alone(tmp_path: Path) -> None:
    without = [*SUMS, Example(prompt="Why is the sky blue?")]
    with pytest.raises(ExampleError, match=r"1 of 11 .*'Why is the sky blue\?'"):
        opened(tmp_path, without, verifier="contains")
    environment = opened(tmp_path, without)
    assert not environment.has_reward
    assert opened(tmp_path, SUMS, verifier="contains").has_reward
    assert "" in {
        s.view.gold for s in [*environment.scenarios("train"), *environment.scenarios("test")]
    }


@pytest.mark.parametrize(
    "settings",
    [
        {"verifier": "fuzzy"},
        {"held_out_share": 1},
        {"tolerance": -1},
        {"tolerance": float("inf")},
        {"task_prompt": ""},
        {"prompt": "x"},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PromptTaskConfig(**settings)
