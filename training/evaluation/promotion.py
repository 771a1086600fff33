"""Whether the trained policy should replace the one in production."""

from __future__ import annotations

from pydantic import BaseModel

from training.evaluation.summaries import Comparison


class Decision(BaseModel):
    promote: bool
    reason: str


def _rejected(why: str) -> Decision:
    return Decision(promote=False, reason=f"not promoted: {why}")


RESCORED = _rejected("rescored rollouts of an earlier evaluation decide nothing; evaluate again")
# A policy with a larger share of failed rollouts cannot be judged by the others.
_MAX_FAILED = 0.05
# An equal policy wins all of five scenarios with probability 1/32, and the bootstrap interval over
# them is then above zero.
_FEWEST_SCENARIOS = 6


def decide(comparison: Comparison) -> Decision:
    """Promote if the intervals of the gains in sampled success over the base policy and the incumbent,
    if any, are above zero, and hardly any rollouts failed for outside reasons."""
    gains: list[str] = []
    doubtful: list[str] = []
    for label in ("trained", "base", "incumbent"):
        summary = comparison.policies.get(label, {}).get("sampled")
        failed = sum(summary.errors.values()) if summary else 0
        if summary and failed > _MAX_FAILED * summary.rollouts:
            return _rejected(
                f"{failed} of {summary.rollouts} rollouts of the {label} policy failed "
                f"({', '.join(summary.errors)})"
            )
    trained = comparison.policies.get("trained", {}).get("sampled")
    if trained and trained.scenarios < _FEWEST_SCENARIOS:
        return _rejected(
            f"{trained.scenarios} held-out scenarios are too few to tell a gain from chance; at least "
            f"{_FEWEST_SCENARIOS} are needed"
        )
    for other in ("base", "incumbent"):
        if gain := comparison.differences.get(other, {}).get("sampled"):
            text = (
                f"{gain['mean']:+.3f} sampled success against the {other} "
                f"({comparison.confidence:.0%} interval {gain['low']:+.3f} to {gain['high']:+.3f})"
            )
            (gains if gain["low"] > 0 else doubtful).append(text)
    if doubtful:
        return _rejected(f"{'; '.join(doubtful)} may be no gain at all")
    if not gains:
        return _rejected("there was no policy to compare with")
    return Decision(promote=True, reason=f"promoted: {'; '.join(gains)}")
