"""Should the trained policy replace what is in production?"""

from __future__ import annotations

from pydantic import BaseModel

from training.evaluation import Comparison


class Decision(BaseModel):
    """The verdict and, in words, why."""

    promote: bool
    reason: str


def decide(comparison: Comparison) -> Decision:
    """Promote only if sampled success is better than the base policy's and, if there is one, than
    the incumbent's, each with the whole interval above zero."""
    gains: list[str] = []
    doubtful: list[str] = []
    for other in ("base", "incumbent"):
        if other in comparison.differences:
            gain = comparison.differences[other]["sampled"]
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
