"""Answer one question: the step of the inference pipeline."""

from __future__ import annotations

from typing import Annotated, Any

from zenml import get_step_context, step
from zenml.steps import BaseStep

from deployment.answerer import Answerer
from steps.by_name import with_inputs
from steps.inference.load_agent import deployable_of

_OVER = "__over__"


def run_single_inference(
    fields: dict[str, str],
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
        fields: those of the environment's question.

    Raises:
        Unanswerable, Unavailable: see there.
    """
    answerer = get_step_context().pipeline_state
    assert isinstance(answerer, Answerer)
    answer = answerer.submit(answerer.question(fields)).result().answer
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


def step_over(environment: str) -> BaseStep:
    """The step of an environment. Its parameters are the fields of a question, since ZenML passes a
    pipeline's parameters to step parameters of the same name."""
    function = with_inputs(
        run_single_inference,
        deployable_of(environment).question.model_fields,
        run_single_inference.__name__ + _OVER + environment,
        into="fields",
        form=str,
    )
    return step(name=run_single_inference.__name__, enable_cache=False)(function)


def __getattr__(attribute: str) -> BaseStep:
    """An environment's step by function name, for ZenML's source loader."""
    name, over, environment = attribute.partition(_OVER)
    if name != run_single_inference.__name__ or not over:
        raise AttributeError(attribute)
    return step_over(environment)
