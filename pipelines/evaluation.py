"""The evaluation pipeline: compare policies on held-out scenarios and promote; or rescore the rollouts
of an earlier evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zenml import pipeline
from zenml.enums import ExecutionMode

from steps.evaluation.compute_metrics import compute_metrics
from steps.evaluation.describe_model import describe_model
from steps.evaluation.judge_answers import judge_answers
from steps.evaluation.load_trained_model import load_trained_model
from steps.evaluation.promote import promote
from steps.evaluation.rescore_rollouts import RESCORE_ROLLOUTS
from steps.evaluation.run_inference import RUN_INFERENCE
from training.spec import EvaluationSpec


def evaluation_pipeline(
    spec: EvaluationSpec, adapter: Any, incumbent: Any, data: Mapping[str, Any]
) -> Any:
    """The pipeline; call it without arguments.

    Args:
        adapter, incumbent: adapters of the evaluated version and of the one in production, if any.
        data: artifact versions of the data pipeline, by name.
    """

    # The default mode would replace a step's error by its own, without the cause.
    @pipeline(execution_mode=ExecutionMode.FAIL_FAST)
    def evaluation() -> None:
        trained_model = load_trained_model(adapter=adapter, backend=spec.backend)
        rows = RUN_INFERENCE.taking(data)(
            trained_model=trained_model, adapter=adapter, incumbent=incumbent, spec=spec, **data
        )
        if spec.evaluation.correctness != "match":
            rows = judge_answers(rows=rows, spec=spec)
        _, decision, _ = compute_metrics(
            rows=rows, trained_model=trained_model, confidence=spec.evaluation.confidence
        )
        describe_model(promoted=promote(decision=decision))

    return evaluation


def rescoring_pipeline(spec: EvaluationSpec, stored: Any, data: Mapping[str, Any]) -> Any:
    """The pipeline; call it without arguments.

    Args:
        stored: the artifact version of the rollouts.
        data: artifact versions of the data pipeline, by name.
    """

    @pipeline(execution_mode=ExecutionMode.FAIL_FAST)
    def rescoring() -> None:
        rows, trained_model = RESCORE_ROLLOUTS.taking(data)(stored=stored, spec=spec, **data)
        if spec.evaluation.correctness != "match":
            rows = judge_answers(rows=rows, spec=spec)
        compute_metrics(
            rows=rows,
            trained_model=trained_model,
            confidence=spec.evaluation.confidence,
            rescored=True,
        )

    return rescoring
