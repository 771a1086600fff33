"""What is asked of hosted models through the API, and what they answer: examples, and scores."""

from __future__ import annotations

from collections import Counter
from typing import Self

from pydantic import ConfigDict, Field, model_validator

from agent.judge.scoring import Trajectory
from environment.base import StrictModel
from environment.prompt_task.models import Example
from environment.prompt_task.verifiers import VerifierName
from environment.prompt_task.writer import ExamplesReport
from service.schemas import ModelId, Name, Text

_MOST_TRAJECTORIES = 1_000


class RolloutRequest(StrictModel):
    """Examples of a task to train on, by the language model of the service's configuration."""

    model_config = ConfigDict(protected_namespaces=())

    model_name: Name = Field("data-gen", description="Whom the examples are for; a label.")
    project: Name = "default"
    num_rollouts: int = Field(10, ge=1, le=1_000, description="How many examples, at most.")
    task_prompt: Text = Field(description="The task, as an agent would be told it.")
    temperature: float | None = Field(
        0.8, ge=0, le=2, allow_inf_nan=False, description="null leaves it to the model."
    )
    with_answers: bool = Field(True, description="False: prompts alone, which RULER can do with.")
    verifier: VerifierName | None = Field(
        None, description="What will compare with the answers, where that is known."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.verifier and not self.with_answers:
            raise ValueError("verifier: there is nothing to verify without with_answers")
        return self


class RolloutAnswer(StrictModel):
    """Examples, each prompt once; ``training_data`` of a training request takes them as they are."""

    model_config = ConfigDict(protected_namespaces=())

    model_name: str
    project: str
    examples: list[Example]
    report: ExamplesReport


class EvaluateRequest(StrictModel):
    """Trajectories to be scored by a judge, each on its own."""

    trajectories: list[Trajectory] = Field(
        min_length=1,
        max_length=_MOST_TRAJECTORIES,
        description="Messages in OpenAI's form. The id, by default the place counted from 0, comes "
        "back with the score.",
    )
    judge_model: ModelId = "gpt-4o"
    evaluation_prompt: Text = Field(description="What counts, and how much.")

    @property
    def ids(self) -> list[str]:
        return [str(n) if t.id is None else t.id for n, t in enumerate(self.trajectories)]

    @model_validator(mode="after")
    def _have_ids_of_their_own(self) -> Self:
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
        consistency: rank correlation of the scores of those that were judged twice, in two orders;
            None if none were, or all were put on a level.
        cost_usd: None where nobody knows the price.
    """

    judge_model: str
    scores: list[TrajectoryScored]
    mean: float = Field(ge=0, le=1)
    consistency: float | None
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None
