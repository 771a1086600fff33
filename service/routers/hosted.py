"""Have hosted models write examples of a task, and score trajectories."""

from __future__ import annotations

import asyncio
from statistics import fmean
from typing import Any

from fastapi import APIRouter
from fastapi.exceptions import RequestValidationError

from agent.hosted.connection import check_llm
from agent.hosted.llm import LanguageModel
from agent.judge.scoring import TrajectoryJudge
from environment.language_model import LlmUnavailable
from environment.tasks import write_examples
from service.app import TheService
from service.hosted_schemas import (
    EvaluateAnswer,
    EvaluateRequest,
    RolloutAnswer,
    RolloutRequest,
    TrajectoryScored,
)
from service.judges import check_judge_name
from service.schemas import Problem

router = APIRouter(tags=["hosted models"])
_BAD_MODEL: dict[int | str, dict[str, Any]] = {
    502: {"model": Problem, "description": "The hosted model gave no usable answer."}
}


@router.post("/rollout", responses=_BAD_MODEL)
async def rollout(request: RolloutRequest, service: TheService) -> RolloutAnswer:
    """Have the configured writer generate examples of a task to train on. If there are fewer than
    requested, the report says why."""
    writer = service.settings.writer
    # In a thread: the first check imports LiteLLM, which takes seconds.
    await asyncio.to_thread(check_llm, writer, "writer, in the service's configuration")
    async with service.hosted:
        examples, report = await write_examples(
            LanguageModel(writer),
            request.task_prompt,
            request.num_rollouts,
            answers=request.with_answers,
            verifier=request.verifier,
            temperature=request.temperature,
        )
    return RolloutAnswer(
        model_name=request.model_name, project=request.project, examples=examples, report=report
    )


@router.post("/evaluate", responses=_BAD_MODEL)
async def evaluate(request: EvaluateRequest, service: TheService) -> EvaluateAnswer:
    """Have a judge score each trajectory from 0 to 1 by the criteria in ``evaluation_prompt``."""
    config = service.settings.judge.model_copy(update={"model": request.judge_model})
    try:
        await asyncio.to_thread(check_judge_name, config.model, service.settings)
        await asyncio.to_thread(check_llm, config)
    except LlmUnavailable as error:
        fault = {"loc": ["body", "judge_model"], "msg": str(error), "type": "value_error"}
        raise RequestValidationError([fault]) from error
    judge = TrajectoryJudge(LanguageModel(config), config)
    async with service.hosted:
        scored = await judge.score(request.trajectories, request.evaluation_prompt)
    usage = judge.llm.usage
    return EvaluateAnswer(
        judge_model=request.judge_model,
        scores=[
            TrajectoryScored(id=id_, score=one.score, explanation=one.explanation)
            for id_, one in zip(request.ids, scored.scores, strict=True)
        ],
        mean=fmean(one.score for one in scored.scores),
        consistency=scored.consistency,
        requests=usage.requests,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cost_usd=round(usage.cost_usd, 6) if judge.llm.priced else None,
    )
