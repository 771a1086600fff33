"""Summaries, paired differences, the verdict and the report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from zenml import log_metadata, step
from zenml.types import HTMLString

from training.compare import read_rows
from training.evaluation import compare
from training.promotion import decide
from training.report import evaluation_report


@step(enable_cache=False)
def compute_metrics(
    rows: Path, trained_model: dict[str, Any], confidence: float
) -> tuple[
    Annotated[dict[str, Any], "evaluation_metrics"],
    Annotated[dict[str, Any], "decision"],
    Annotated[HTMLString, "evaluation_report"],
]:
    """Raises ValueError if the policies were not run on the same scenarios."""
    found = read_rows(rows)
    comparison = compare(found, confidence)
    decision = decide(comparison)
    report = evaluation_report(
        f"Evaluation of run {trained_model['run']}, step {trained_model['step']}",
        comparison,
        decision,
        found,
        {name: trained_model[name] for name in ("base_model", "run", "step", "seed")},
    )
    gain = comparison.differences["base"]["sampled"]
    log_metadata(
        {
            "evaluation": {
                label: {mode: summary.success for mode, summary in modes.items()}
                for label, modes in comparison.policies.items()
            },
            "gain_over_base": gain,
            "decision": decision.reason,
        },
        infer_model=True,
    )
    return comparison.model_dump(), decision.model_dump(), HTMLString(report)
