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


def step_over(environment: str) -> BaseStep:
    """The step over an environment. Its parameters are the fields of a question, as ZenML hands a
    pipeline's parameters on to the parameters of the same names in its steps."""
    function = with_inputs(
        run_single_inference,
        deployable_of(environment).question.model_fields,
        run_single_inference.__name__ + _OVER + environment,
        into="asked",
        form=str,
    )
    return step(name=run_single_inference.__name__, enable_cache=False)(function)


def __getattr__(attribute: str) -> BaseStep:
    """An environment's step by the name of its function, as ZenML looks it up."""
    name, over, environment = attribute.partition(_OVER)
    if name != run_single_inference.__name__ or not over:
        raise AttributeError(attribute)
    return step_over(environment)
