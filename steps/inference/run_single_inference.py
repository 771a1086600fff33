"""Answer one question: the step of the inference pipeline."""

from __future__ import annotations

from typing import Annotated, Any

from zenml import get_step_context, step

from deployment.answer import Question
from deployment.answerer import Answerer


@step(enable_cache=False)
def run_single_inference(
    question: str, inbox_address: str, query_date: str
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
    Raises:
        UnknownInbox: there is no such inbox.
        Unavailable: the model server failed.
    """
    answerer = get_step_context().pipeline_state
    assert isinstance(answerer, Answerer)
    asked = Question(question=question, inbox_address=inbox_address, query_date=query_date)
    found = answerer.submit(asked).result().answer
    return (
        found.question,
        found.answer,
        found.source_ids,
        found.success,
        found.checkpoint.model_dump(),
        found.reason or "",
        found.turns,
        found.latency_ms,
    )
