"""An evaluation of the code environment, as its report, its summary and its table show it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.rollout import Rollout
from environment.base import StopReason
from environment.code.models import Attempt, CodeOutcome, CodeProblem, Verdict
from environment.code.rewards import code_reward
from pipelines.evaluation_results import evaluation_summary
from pipelines.summary_table import lines
from tests.training.world import reply
from training.evaluation.evaluate import MODES, EvaluationRow, rollouts_of_each, row_of
from training.evaluation.promotion import decide
from training.evaluation.summaries import Comparison, compare
from training.report import evaluation_report

SAMPLES, PROBLEMS = 4, 12
PROGRAM = "```python\ndef f(x):\n    return x - 1\n```"
VERDICTS = {
    "base": (Verdict.SYNTAX, Verdict.EXCEPTION, Verdict.TIMEOUT, Verdict.WRONG_ANSWER),
    "trained": (Verdict.PASSED, Verdict.WRONG_ANSWER, Verdict.PASSED, Verdict.MEMORY),
}


def problem(number: int) -> CodeProblem:
    return CodeProblem(
        id=f"own/{number}",
        split="test",
        text=f"Write a function f that adds {number}.",
        visible_tests=(f"assert f(0) == {number}",),
        hidden_tests=(f"assert f(1) == {number + 1}",),
        solution=f"def f(x):\n    return x + {number}",
    )


def rollout(number: int, verdict: Verdict, attempts: int) -> Rollout:
    passed = verdict is Verdict.PASSED
    visible = [Attempt(verdict, int(passed), 1)] * attempts
    outcome = CodeOutcome(
        StopReason.FINISHED, attempts, attempts=visible, final=Attempt(verdict, int(passed), 1),
        executions=attempts + 1, timeouts=int(verdict is Verdict.TIMEOUT), sandbox_seconds=0.05,
    )  # fmt: skip
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    return Rollout(
        scenario=problem(number),
        messages=[*messages, *([{"role": "assistant", "content": PROGRAM}] * attempts)],
        replies=[reply()] * attempts,
        outcome=outcome,
        reward=code_reward(outcome, 0.2),
        seconds=0.5,
        error="",
    )


@pytest.fixture(scope="module")
def rollouts() -> list[EvaluationRow]:
    return [
        row_of(
            label, mode, rollout(n, verdicts[(n + s) % 4], 1 + (n + s) % 3), 8, None, sample=s
        )
        for label, verdicts in VERDICTS.items()
        for mode in MODES
        for n in range(PROBLEMS)
        for s in range(rollouts_of_each(mode, SAMPLES))
    ]  # fmt: skip


@pytest.fixture(scope="module")
def comparison(rollouts: list[EvaluationRow]) -> Comparison:
    return compare(rollouts, 0.95)


@pytest.fixture(scope="module")
def report(rollouts: list[EvaluationRow], comparison: Comparison) -> str:
    return evaluation_report(
        "Evaluation", comparison, decide(comparison), rollouts, {"run": "demo"}
    )


MAILS = ("mail", "inbox", "source", "cites", "question by")


def test_the_report_speaks_of_no_other_environment(report: str) -> None:
    for word in MAILS:
        assert word not in report.lower()


def test_the_report_tells_error_classes_attempts_and_pass_at_k(
    report: str, comparison: Comparison
) -> None:
    base, trained = (comparison.policies[label]["sampled"] for label in ("base", "trained"))
    for name in ("passed", "syntax", "exception", "wrong_answer", "timeout", "memory"):
        assert f"<td>{name}</td>" in report
    for summary in (base, trained):
        for share in summary.endings.values():
            assert f"<td>{share.mean:.3f} ({share.low:.3f} to {share.high:.3f})</td>" in report
    attempts = trained.metrics["attempts"]
    assert attempts.low < attempts.mean < attempts.high
    assert f"{attempts.mean:.3f} ({attempts.low:.3f} to {attempts.high:.3f})" in report
    for name in ("attempts", "tests passed", "sandbox seconds", "pass@4"):
        assert name in report
    # What is zero throughout or told by how rollouts ended has no line.
    for name in ("sandbox failures", "verdict passed", "verdict wrong"):
        assert name not in report


def test_what_goes_wrong_shows_task_solution_program_and_verdict(report: str) -> None:
    wrong = report[report.index("What still goes wrong") :]
    for text in ("adds 1.", "return x + 1", "return x - 1", "<td>wrong_answer</td>"):
        assert text in wrong


def test_every_problem_of_the_trained_policy_is_solved_by_half_of_its_programs(
    comparison: Comparison,
) -> None:
    summary = comparison.policies["trained"]["sampled"]
    assert [(p.k, round(p.mean, 6)) for p in summary.pass_at_k] == [
        (1, 0.5),
        (2, round(5 / 6, 6)),
        (4, 1.0),
    ]
    assert decide(comparison).promote


@pytest.mark.parametrize("others", [False, True])
def test_the_table_in_the_terminal(rollouts: list[EvaluationRow], others: bool) -> None:
    more = [
        r.model_copy(update={"policy": "o3", "model": "openai/o3"})
        for r in rollouts
        if others and r.policy == "base" and r.mode == "sampled"
    ]
    metrics: dict[str, Any] = compare([*rollouts, *more], 0.95).model_dump() | {"agreement": None}
    evaluation = evaluation_summary(metrics, "promoted: why")
    summary = {
        "pipeline": "eval", "status": "completed", "seconds": {"eval": 3.0}, "peak_rss_mib": 500,
        "data": {"scenarios": {"train": 60, "test": 12}}, "train": None, "eval": evaluation,
    }  # fmt: skip
    text = "\n".join(lines(summary, Path("runs/demo")))
    assert "12 scenarios, 4 sampled rollouts of each" in text
    assert "trained  0.500" in text.replace("trained      ", "trained  ")
    for words in ("pass@1", "pass@2", "pass@4", "0.833 ("):
        assert words in text
    for word in MAILS:
        assert word not in text.lower()
    table = {(row["policy"], row["mode"]): row for row in evaluation["table"]}
    row = table["trained", "sampled"]
    assert (row["scenarios"], row["rollouts"], row["samples"]) == (12, 48, 4)
    assert row["endings"]["passed"]["mean"] == row["success"] == 0.5
    assert row["metrics"]["attempts"]["mean"] == pytest.approx(row["turns"])
    assert table["trained", "greedy"]["pass_at_k"] == []
