"""The reward of the code agent: whether its program passes the hidden tests."""

from __future__ import annotations

from environment.base import Reward, StopReason
from environment.code.models import CodeOutcome, Verdict

VERDICTS: dict[str, str] = {
    Verdict.PASSED: "every hidden test passes",
    Verdict.SYNTAX: "invalid Python, or no program in the reply",
    Verdict.EXCEPTION: "the program raised or exited where a test expects a value",
    Verdict.WRONG_ANSWER: "a test got a wrong value",
    Verdict.TIMEOUT: "the program exceeded its wall-clock or CPU limit",
    Verdict.MEMORY: "the program exceeded its memory limit",
    Verdict.OUTPUT: "the program exceeded its output limit",
    Verdict.NOTHING: "no program was submitted",
}
METRICS = {
    "tests_passed": "fraction of hidden tests that pass",
    "attempts": "programs submitted",
    "first_attempt_visible": "the first program passes the visible tests",
    "sandbox_executions": "programs run",
    "sandbox_timeouts": "fraction of runs that timed out",
    "sandbox_failures": "fraction of runs that failed through the sandbox's own fault",
    "sandbox_seconds": "seconds in the sandbox per run",
}


def code_reward(outcome: CodeOutcome, shaping: float) -> Reward:
    """1.0 if every hidden test passes, otherwise ``shaping`` (below 1) times the fraction that
    does."""
    final = outcome.final
    verdict = final.verdict if final else Verdict.NOTHING
    success = verdict is Verdict.PASSED
    share = final.passed / final.total if final else 0.0
    ran = max(1, outcome.executions)
    first = outcome.attempts[0].verdict if outcome.attempts else None
    return Reward(
        value=1.0 if success else shaping * share,
        success=success,
        reason=str(verdict) if final or outcome.stop is StopReason.FINISHED else str(outcome.stop),
        metrics={
            "tests_passed": share,
            "attempts": float(len(outcome.attempts)),
            "first_attempt_visible": float(first is Verdict.PASSED),
            "sandbox_executions": float(outcome.executions),
            "sandbox_timeouts": outcome.timeouts / ran,
            "sandbox_failures": outcome.failures / ran,
            "sandbox_seconds": outcome.sandbox_seconds / ran,
        },
    )
