"""Write the results of an evaluation to a run's summary and folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from training.config import POLICIES

ROLLOUTS = "evaluation.parquet"
_COLUMNS = (
    *("model", "scenarios", "rollouts", "samples", "success", "success_low", "success_high"),
    *("pass_at_k", "source_accuracy", "turns", "seconds_p50", "seconds_p99", "at_once"),
    *("usd_per_1000", "errors", "endings", "metrics"),
)


def evaluation_summary(metrics: dict[str, Any], decision: str) -> dict[str, Any]:
    """
    Args:
        metrics: a ``training.evaluation.summaries.Comparison`` as JSON, with ``agreement``.
    """
    policies: dict[str, dict[str, Any]] = metrics["policies"]
    differences = metrics["differences"]
    # At the top level only our own policies: other models can have any name.
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


def keep_evaluation(
    folder: Path, summary: dict[str, Any], pipeline_run: Any, step: str, rows: str
) -> dict[str, Any]:
    """Write summary, report and rollouts of a pipeline run. Returns the decision.

    Args:
        step, rows: the step that made the rollouts, and the name of its output.
    """

    def output(step: str, name: str) -> Any:
        return pipeline_run.steps[step].outputs[name][0].load()

    decision: dict[str, Any] = output("compute_metrics", "decision")
    metrics = output("compute_metrics", "evaluation_metrics")
    summary["eval"] = evaluation_summary(metrics, decision["reason"])
    report = str(output("compute_metrics", "evaluation_report"))
    (folder / "evaluation.html").write_text(report, encoding="utf-8")
    if "judge_answers" in pipeline_run.steps:
        step, rows = "judge_answers", "judged_rows"
    partial = folder / f"{ROLLOUTS}.partial"
    shutil.copyfile(output(step, rows), partial)
    partial.replace(folder / ROLLOUTS)
    return decision
