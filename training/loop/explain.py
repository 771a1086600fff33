"""What the loop says of its steps, in words."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from training.loop.judging import distrust, judge_faults
from training.run.run_log import STEP, Record

log = logging.getLogger(__name__)

_STEPS_BETWEEN_WARNINGS = 10


def warn_of_mismatch(record: Record, lowest: float) -> None:
    correlation = record.get("loss/probs_corr")
    if correlation is not None and not correlation >= lowest:
        log.warning(
            "step %d: the sampler's and the trainer's probabilities correlate only %.4f (at least "
            "%.2f expected): the policy is trained on tokens it did not sample like that. Check "
            "that both use the same weights, template and temperature",
            record[STEP],
            correlation,
            lowest,
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
