"""What the loop says of its steps, in words."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from environment.base import UserError
from training.loop.judging import distrust, judge_faults
from training.run.run_log import STEP, Record

log = logging.getLogger(__name__)

_STEPS_BETWEEN_WARNINGS = 10


class Mismatch(UserError):
    """Sampler and trainer do not see the same policy."""


def mismatch(record: Record, lowest: float) -> str | None:
    """What is wrong if sampler and trainer disagree in this step, with what to look at."""
    correlation = record.get("loss/probs_corr")
    if correlation is None or correlation >= lowest:
        return None
    return (
        f"step {record[STEP]}: the probabilities of sampler and trainer correlate only "
        f"{correlation:.4f}, training.min_probs_corr is {lowest:g}: the policy is trained on tokens "
        "that it would not have sampled. Look at the base model's attention (sliding windows and "
        "soft caps are not computed by our sampler), at backend.dtype, and at the weights of both; "
        "training.on_mismatch: warn goes on all the same"
    )


def warn_of_judge(records: Sequence[Record], last: bool) -> None:
    if (last or len(records) % _STEPS_BETWEEN_WARNINGS == 0) and (text := distrust(records)):
        log.warning("%s", text)


def why_empty(records: Sequence[Record]) -> str:
    counts: dict[str, int] = {}
    for record in records:
        for reason, n in record["data/dropped"].items():
            counts[reason] = counts.get(reason, 0) + n
    reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(counts.items()))
    error = next((r["data/first_error"] for r in records if r["data/first_error"]), "")
    detail = f" The first error was: {error}." if error else ""
    if judge := "; ".join(f"{fault} ({n} groups)" for fault, n in judge_faults(records).items()):
        detail = f" The judge failed: {judge}. Mend judge.model or judge.api_base."
    return (
        f"{len(records)} steps in a row had nothing to train on ({reasons}).{detail} "
        "zero_variance: the task is too easy or too hard for this policy, or the groups are too "
        "small; the other reasons name their cause"
    )
