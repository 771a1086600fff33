"""The reward of the code agent: whether its program passes the hidden tests."""

from __future__ import annotations

from environment.base import Reward, StopReason
from environment.code.models import CodeOutcome, Verdict


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
            **{f"verdict_{v.value}": float(verdict is v) for v in Verdict},
        },
    )
