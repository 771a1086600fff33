"""Should the trained policy replace what is in production?"""

from __future__ import annotations

from pydantic import BaseModel

from training.summaries import Comparison


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
