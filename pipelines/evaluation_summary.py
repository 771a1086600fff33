"""What came of an evaluation, for the summary of a run."""

from __future__ import annotations

from typing import Any

from training.config import POLICIES

_COLUMNS = (
    "model",
    "scenarios",
    "success",
    "success_low",
    "success_high",
    "source_accuracy",
    "turns",
    "seconds_p50",
    "seconds_p99",
    "at_once",
    "usd_per_1000",
    "errors",
)


def evaluation_summary(metrics: dict[str, Any], decision: str) -> dict[str, Any]:
    """
    Args:
        metrics: a ``training.evaluation.Comparison``, as JSON has it, with ``agreement``.
    """
    policies: dict[str, dict[str, Any]] = metrics["policies"]
    differences = metrics["differences"]
    # By name only our own: another model may be called anything.
    own = {
        label: {mode: summary["success"] for mode, summary in policies[label].items()}
        for label in POLICIES
        if label in policies
    }
    return {
        "scenarios": policies["trained"]["sampled"]["scenarios"],
        **own,
        "difference": differences["base"].get("sampled"),
        "confidence": metrics["confidence"],
        "differences": differences,
        "by_kind": {
            label: modes["sampled"]["by_kind"]
            for label, modes in policies.items()
            if "sampled" in modes
        },
        "table": [
            {"policy": label, "mode": mode} | {name: summary[name] for name in _COLUMNS}
            for label, modes in policies.items()
            for mode, summary in modes.items()
        ],
        "judge": metrics["agreement"],
        "decision": decision,
    }
