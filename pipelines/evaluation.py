"""Trained against base on held-out scenarios, and promotion if the gain is real; or the rollouts of
an earlier evaluation scored again."""

from __future__ import annotations

from typing import Any

from zenml import pipeline
from zenml.enums import ExecutionMode

from steps.evaluation import (
    compute_metrics,
    describe_model,
    judge_answers,
    load_trained_model,
    promote,
    rescore_rollouts,
    run_inference,
)
from steps.evaluation.run_inference import EvaluateSettings


# Not the default mode: that one replaces a step's error by its own, which has no cause in it.
@pipeline(name="evaluation", execution_mode=ExecutionMode.FAIL_FAST)
def evaluation_pipeline(
    settings: EvaluateSettings,
    adapter: Any,
    scenarios: Any = None,
    database: Any = None,
    incumbent: Any = None,
) -> None:
    """
    Args:
        adapter, incumbent: adapters of the version under test and of the one in production.
        scenarios, database: artifact versions of the data pipeline.
    """
    trained_model = load_trained_model(adapter=adapter, backend=settings.backend)
    rows = run_inference(
        trained_model=trained_model,
        adapter=adapter,
        scenarios=scenarios,
        database=database,
        incumbent=incumbent,
        settings=settings,
    )
    if settings.evaluation.correctness != "match":
        rows = judge_answers(rows=rows, settings=settings)
    _, decision, _ = compute_metrics(
        rows=rows, trained_model=trained_model, confidence=settings.evaluation.confidence
    )
    describe_model(promoted=promote(decision=decision))


@pipeline(name="rescoring", execution_mode=ExecutionMode.FAIL_FAST)
def rescoring_pipeline(
    settings: EvaluateSettings, stored: Any, scenarios: Any = None, database: Any = None
) -> None:
    """
    Args:
        stored: the artifact version of the rollouts.
        scenarios, database: artifact versions of the data pipeline.
    """
    rows, trained_model = rescore_rollouts(
        stored=stored, settings=settings, scenarios=scenarios, database=database
    )
    if settings.evaluation.correctness != "match":
        rows = judge_answers(rows=rows, settings=settings)
    compute_metrics(
        rows=rows,
        trained_model=trained_model,
        confidence=settings.evaluation.confidence,
        rescored=True,
    )
