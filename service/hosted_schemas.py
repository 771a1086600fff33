"""Requests and responses of the endpoints that call hosted models."""

from __future__ import annotations

from collections import Counter
from typing import Self

from pydantic import ConfigDict, Field, model_validator

from agent.judge.scoring import Trajectory
from environment.base import StrictModel
from environment.tasks import Example, ExamplesReport, VerifierName
from service.schemas import ModelId, Name, Text

_MOST_TRAJECTORIES = 1_000


class RolloutRequest(StrictModel):
    """Have the configured language model write examples of a task to train on."""

    model_config = ConfigDict(protected_namespaces=())

    model_name: Name = Field("data-gen", description="A label.")
    project: Name = "default"
    num_rollouts: int = Field(10, ge=1, le=1_000, description="At most this many examples.")
    task_prompt: Text = Field(description="The agent's instructions.")
    temperature: float | None = Field(
        0.8, ge=0, le=2, allow_inf_nan=False, description="null: the model's default."
    )
    with_answers: bool = Field(True, description="false: prompts only, which is enough for RULER.")
    verifier: VerifierName | None = Field(
        None, description="The verifier that will check the answers, if known."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.verifier and not self.with_answers:
            raise ValueError("verifier: without with_answers there is nothing to verify")
        return self


class RolloutAnswer(StrictModel):
    """Examples with distinct prompts, in the format of ``TrainRequest.training_data``."""

    model_config = ConfigDict(protected_namespaces=())

    model_name: str
    project: str
    examples: list[Example]
    report: ExamplesReport


class EvaluateRequest(StrictModel):
    """Trajectories for a judge to score independently."""

    trajectories: list[Trajectory] = Field(
        min_length=1,
        max_length=_MOST_TRAJECTORIES,
        description="Messages in OpenAI's format. The id (default: the position, from 0) is returned "
        "with the score.",
    )
    judge_model: ModelId = "gpt-4o"
    evaluation_prompt: Text = Field(description="The criteria and their weights.")

    @property
    def ids(self) -> list[str]:
        return [str(n) if t.id is None else t.id for n, t in enumerate(self.trajectories)]

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Self:
        id_, count = Counter(self.ids).most_common(1)[0]
        if count > 1:
            raise ValueError(f"trajectories: {count} of them have the id {id_[:80]!r}")
        return self


class TrajectoryScored(StrictModel):
    id: str
    score: float = Field(ge=0, le=1)
    explanation: str


class EvaluateAnswer(StrictModel):
    """Scores in the order of the trajectories.

    Args:
        consistency: rank correlation between the scores of trajectories judged twice, in different
            orders; None if none were, or all scores were equal.
        cost_usd: None if the price is unknown.
    """

    judge_model: str
    scores: list[TrajectoryScored]
    mean: float = Field(ge=0, le=1)
    consistency: float | None
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None
