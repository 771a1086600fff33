"""Compare the trained policy with its base model at the end of a job."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from environment.files import write_atomically
from training.config import EvaluationConfig
from training.evaluation.compare import run_policies, write_rows
from training.evaluation.promotion import decide
from training.evaluation.summaries import Comparison, compare
from training.report import evaluation_report

if TYPE_CHECKING:
    from environment.base import Environment
    from service.plan import Plan

ROWS, REPORT = "rollouts.parquet", "report.html"


async def evaluate(
    plan: Plan, environment: Environment[Any, Any], adapter: Path, folder: Path, title: str
) -> dict[str, Any]:
    """Evaluate an adapter. Returns a ``service.schemas.Evaluation`` without ``report``. ``folder`` is
    emptied first and then holds the report and every rollout.

    Raises:
        BackendError: the backend cannot serve adapters.
    """
    assert plan.evaluation is not None
    settings = plan.evaluation
    config = EvaluationConfig(scenarios=settings.scenarios, samples=settings.samples)
    shutil.rmtree(folder, ignore_errors=True)
    workspace = folder / "policies"
    workspace.mkdir(parents=True)
    rows = await run_policies(
        {"base": None, "trained": adapter},
        environment,
        plan.backend,
        plan.rollout,
        config,
        plan.seed,
        workspace,
    )
    shutil.rmtree(workspace)
    write_rows(rows, folder / ROWS)
    comparison = compare(rows, config.confidence)
    decision = decide(comparison)
    facts = {"base_model": plan.backend.base_model, "seed": plan.seed}
    report = evaluation_report(title, comparison, decision, rows, facts, environment.meanings)
    write_atomically(folder / REPORT, report)
    gain = comparison.differences["base"].get("sampled")
    return {
        "scenarios": comparison.policies["base"]["sampled"].scenarios,
        "samples": config.samples,
        "confidence": config.confidence,
        "base": _scores(comparison, "base"),
        "trained": _scores(comparison, "trained"),
        "gain": gain["mean"] if gain else None,
        "interval": (gain["low"], gain["high"]) if gain else None,
        "promote": decision.promote,
        "reason": decision.reason,
    }


def _scores(comparison: Comparison, label: str) -> dict[str, Any]:
    modes = comparison.policies[label]
    errors = sum((Counter(summary.errors) for summary in modes.values()), Counter())
    return {
        "sampled": modes["sampled"].success,
        "greedy": modes["greedy"].success,
        "rollouts": sum(summary.rollouts for summary in modes.values()),
        "errors": dict(errors),
    }
