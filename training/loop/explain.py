"""The loop's warnings and errors about its steps."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from environment.base import UserError
from training.loop.judging import distrust, judge_faults
from training.run.run_log import STEP, Record

log = logging.getLogger(__name__)

_STEPS_BETWEEN_WARNINGS = 10


class Mismatch(UserError):
    """Sampler and trainer disagree about the policy's probabilities."""


def mismatch(record: Record, lowest: float) -> str | None:
    """An explanation if sampler and trainer disagree in this step, otherwise None."""
    correlation = record.get("loss/probs_corr")
    if correlation is None or correlation >= lowest:
        return None
    return (
        f"step {record[STEP]}: the probabilities of sampler and trainer correlate by only "
        f"{correlation:.4f}, training.min_probs_corr is {lowest:g}: the policy is trained on tokens "
        "that it would not have sampled. Check the base model's attention (our sampler has no sliding "
        "windows and soft caps), backend.dtype, and the weights of both; training.on_mismatch: warn "
        "continues anyway"
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
        detail = f" The judge failed: {judge}. Fix judge.model or judge.api_base."
    return (
        f"{len(records)} steps in a row had nothing to train on ({reasons}).{detail} "
        "zero_variance: the task is too easy or too hard for this policy, or the groups are too "
        "small; the other reasons name their cause"
    )
