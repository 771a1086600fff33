"""The reward of the code agent: whether its program passes the hidden tests."""

from __future__ import annotations

from environment.base import Reward, StopReason
from environment.code.models import CodeOutcome, Verdict

VERDICTS: dict[str, str] = {
    Verdict.PASSED: "every hidden test holds",
    Verdict.SYNTAX: "no Python, or no program in the reply",
    Verdict.EXCEPTION: "it raises, or ends the process, where a test wants a value",
    Verdict.WRONG_ANSWER: "a test gets another value than it wants",
    Verdict.TIMEOUT: "it runs longer than it may",
    Verdict.MEMORY: "it wants more memory than it may have",
    Verdict.OUTPUT: "it writes more than it may",
    Verdict.NOTHING: "no program was submitted",
}
METRICS = {
    "tests_passed": "share of the hidden tests that pass",
    "attempts": "programs submitted",
    "first_attempt_visible": "the first program passes the visible tests",
    "sandbox_executions": "programs run",
    "sandbox_timeouts": "share of the runs that ran out of time",
    "sandbox_failures": "share of the runs that failed through the sandbox's own fault",
    "sandbox_seconds": "seconds in the sandbox, a run",
}


def code_reward(outcome: CodeOutcome, shaping: float) -> Reward:
    """1.0 if every hidden test passes, else ``shaping`` times the share that does.

    Args:
        shaping: below 1, so that no failure is worth a success.
    """
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
            "attempts": float(outcome.submitted),
            "first_attempt_visible": float(first is Verdict.PASSED),
            "sandbox_executions": float(outcome.executions),
            "sandbox_timeouts": outcome.timeouts / ran,
            "sandbox_failures": outcome.failures / ran,
            "sandbox_seconds": outcome.sandbox_seconds / ran,
        },
    )
