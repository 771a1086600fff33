"""The environment over its file of problems, as the loop, the evaluation and the pipelines use it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from environment.base import EnvironmentUnavailable, StopReason
from environment.code import CodeEnvironment, check, open_environment
from environment.code.bundled import problems
from environment.code.config import CodeConfig, SandboxConfig
from environment.code.models import Attempt, CodeOutcome, Verdict
from environment.code.rewards import METRICS, code_reward
from environment.code.sandbox.base import Limits, SandboxUnavailable
from environment.jsonl import write_jsonl
from tests.environment.code.sandbox.traces import children

CONFIG = CodeConfig(sandbox=SandboxConfig(workers=1, limits=Limits(wall_s=3)))


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[CodeEnvironment]:
    write_jsonl(tmp_path / "p.jsonl", problems()[:20] + problems()[-20:])
    opened = open_environment({"scenarios": tmp_path / "p.jsonl"}, CONFIG, 3)
    yield opened
    opened.close()


def test_scenarios_are_a_function_of_the_seed(environment: CodeEnvironment) -> None:
    first = environment.scenarios("train", 5, seed=1)
    assert first == environment.scenarios("train", 5, seed=1)
    assert first != environment.scenarios("train", 5, seed=2)
    assert {s.split for s in first} == {"train"}
    test = {s.id for s in environment.scenarios("test")}
    assert test.isdisjoint(s.id for s in environment.scenarios("train"))


def test_it_can_be_closed_after_its_loop(environment: CodeEnvironment) -> None:
    scenario = environment.scenarios("train", 1)[0]
    before = set(children())

    async def solve() -> CodeOutcome:
        session = environment.session(scenario)
        await session.take_text(scenario.solution)
        return session.outcome(StopReason.FINISHED, 1)

    outcome = asyncio.run(solve())
    assert environment.reward(scenario, outcome).success
    assert len(set(children()) - before) == 1, "the sandbox waits for the next program"
    environment.close()
    assert not set(children()) - before
    environment.close()


def test_what_cannot_work_is_said_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    check(CONFIG, 3)
    with pytest.raises(EnvironmentUnavailable, match=r"max_attempts is 3.*max_turns only 2"):
        check(CONFIG, 2)
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(SandboxUnavailable, match="docker"):
        check(CONFIG, 3)


def final(verdict: Verdict, passed: int, total: int = 4) -> CodeOutcome:
    attempt = Attempt(verdict, passed, total)
    return CodeOutcome(StopReason.FINISHED, attempts=[attempt], final=attempt, executions=2)


@pytest.mark.parametrize(
    ("outcome", "shaping", "value", "reason"),
    [
        (final(Verdict.PASSED, 4), 0.0, 1.0, "passed"),
        (final(Verdict.PASSED, 4), 0.5, 1.0, "passed"),
        (final(Verdict.WRONG_ANSWER, 3), 0.0, 0.0, "wrong_answer"),
        (final(Verdict.WRONG_ANSWER, 3), 0.8, 0.6, "wrong_answer"),
        (final(Verdict.TIMEOUT, 0), 0.5, 0.0, "timeout"),
        (CodeOutcome(StopReason.OVER_LENGTH), 0.5, 0.0, "over_length"),
        (CodeOutcome(StopReason.NO_TOOL_CALL), 0.5, 0.0, "no_tool_call"),
    ],
)
def test_the_reward_is_of_the_hidden_tests(
    outcome: CodeOutcome, shaping: float, value: float, reason: str
) -> None:
    reward = code_reward(outcome, shaping)
    assert (reward.value, reward.reason) == (pytest.approx(value), reason)
    assert reward.success == (value == 1.0)
    assert reward.metrics.keys() == METRICS.keys()


def test_every_verdict_of_a_program_is_a_reason_it_declares() -> None:
    assert CodeEnvironment.verdicts.keys() == set(Verdict)
    for verdict in Verdict:
        assert code_reward(final(verdict, 0), 0.5).reason == verdict
    assert code_reward(CodeOutcome(StopReason.FINISHED), 0.5).reason == "nothing"
