"""Answer one question: the step of the inference pipeline."""

from __future__ import annotations

from typing import Annotated, Any

from zenml import get_step_context, step

from deployment.answerer import Answerer


@step(enable_cache=False)
def run_single_inference(
    asked: dict[str, str],
) -> tuple[
    Annotated[str, "question"],
    Annotated[str, "answer"],
    Annotated[list[str], "source_ids"],
    Annotated[bool, "success"],
    Annotated[dict[str, Any], "checkpoint"],
    Annotated[str, "reason"],
    Annotated[int, "turns"],
    Annotated[float, "latency_ms"],
]:
    """
    Args:
        asked: the fields of the environment's question.

    Raises:
        Unanswerable: the question cannot be asked here.
        Unavailable: the model server failed.
    """
    answerer = get_step_context().pipeline_state
    assert isinstance(answerer, Answerer)
    answer = answerer.submit(answerer.question(asked)).result().answer
    return (
        answer.question,
        answer.answer,
        answer.source_ids,
        answer.success,
        answer.checkpoint.model_dump(),
        answer.reason or "",
        answer.turns,
        answer.latency_ms,
    )
