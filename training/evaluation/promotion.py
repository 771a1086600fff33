"""Should the trained policy replace what is in production?"""

from __future__ import annotations

from pydantic import BaseModel

from training.evaluation.summaries import Comparison


class Decision(BaseModel):
    """The verdict and, in words, why."""

    promote: bool
    reason: str


RESCORED = Decision(
    promote=False,
    reason="not promoted: rollouts of an earlier evaluation were scored again; a new one decides",
)
# Rollouts of a policy that may fail before the others say too little about it.
_MAX_FAILED = 0.05
# A policy that is no better is ahead on all of five by chance in 1 of 32 cases, and then the interval
# over them, which knows of no others, is above zero.
_FEWEST_SCENARIOS = 6


def decide(comparison: Comparison) -> Decision:
    """Promote only if sampled success is better than the base policy's and, if there is one, than
    the incumbent's, each with the whole interval above zero, and if hardly any of their rollouts
    failed for a reason that is not theirs."""
    gains: list[str] = []
    doubtful: list[str] = []
    for label in ("trained", "base", "incumbent"):
        summary = comparison.policies.get(label, {}).get("sampled")
        failed = sum(summary.errors.values()) if summary else 0
        if summary and failed > _MAX_FAILED * summary.rollouts:
            return Decision(
                promote=False,
                reason=f"not promoted: {failed} of {summary.rollouts} rollouts of the {label} "
                f"policy failed ({', '.join(summary.errors)})",
            )
    trained = comparison.policies.get("trained", {}).get("sampled")
    if trained and trained.scenarios < _FEWEST_SCENARIOS:
        return Decision(
            promote=False,
            reason=f"not promoted: {trained.scenarios} held-out scenarios are too few to tell a gain "
            f"from chance; {_FEWEST_SCENARIOS} are the fewest",
        )
    for other in ("base", "incumbent"):
        if gain := comparison.differences.get(other, {}).get("sampled"):
            text = (
                f"{gain['mean']:+.3f} sampled success against the {other} "
                f"({comparison.confidence:.0%} interval {gain['low']:+.3f} to {gain['high']:+.3f})"
            )
            (gains if gain["low"] > 0 else doubtful).append(text)
    if doubtful:
        return Decision(
            promote=False, reason=f"not promoted: {'; '.join(doubtful)} may be no gain at all"
        )
    if not gains:
        return Decision(promote=False, reason="not promoted: it was compared with nothing")
    return Decision(promote=True, reason=f"promoted: {'; '.join(gains)}")
