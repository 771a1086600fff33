"""Compute summaries, paired differences, the decision and the report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from zenml import log_metadata, step
from zenml.types import HTMLString

from training.evaluation.compare import read_facts, read_rows
from training.evaluation.correctness import agreement
from training.evaluation.promotion import RESCORED, Decision, decide
from training.evaluation.summaries import Comparison, compare
from training.report import evaluation_report


@step(enable_cache=False)
def compute_metrics(
    rows: Path, trained_model: dict[str, Any], confidence: float, rescored: bool = False
) -> tuple[
    Annotated[dict[str, Any], "evaluation_metrics"],
    Annotated[dict[str, Any], "decision"],
    Annotated[HTMLString, "evaluation_report"],
]:
    """
    Args:
        rescored: the rollouts are from an earlier evaluation; nothing is decided or recorded.

    Raises:
        ValueError: the policies were not run on the same scenarios.
    """
    evaluation_rows = read_rows(rows)
    comparison = compare(evaluation_rows, confidence)
    decision = RESCORED if rescored else decide(comparison)
    report = evaluation_report(
        f"Evaluation of run {trained_model['run']}, step {trained_model['step']}",
        comparison,
        decision,
        evaluation_rows,
        {name: trained_model[name] for name in ("base_model", "run", "step", "seed")},
        read_facts(rows).get("meanings", {}),
    )
    if not rescored:
        _record(comparison, decision)
    judge = agreement(evaluation_rows)
    metrics = comparison.model_dump() | {"agreement": judge.model_dump() if judge else None}
    return metrics, decision.model_dump(), HTMLString(report)


def _record(comparison: Comparison, decision: Decision) -> None:
    """Log to the model version; ZenML rejects None."""
    shares = {
        label: {mode: s.success for mode, s in modes.items() if s.success is not None}
        for label, modes in comparison.policies.items()
    }
    metadata: dict[str, Any] = {"evaluation": shares, "decision": decision.reason}
    if gain := comparison.differences["base"].get("sampled"):
        metadata["gain_over_base"] = gain
    log_metadata(metadata, infer_model=True)
