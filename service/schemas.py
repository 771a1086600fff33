"""Requests and responses of the API. Unknown keys are errors."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, field_validator, model_validator

from environment.base import StrictModel
from environment.tasks import TASK, Example, VerifierName
from service.states import Status
from training.config import BudgetConfig

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
KEY = r"^[!-~]{1,128}$"
DELETED = "deleted"  # the last event of a deleted job's stream
NO_MORE = 204  # the job has ended and the client has every event: do not reconnect
MAX_TEXT = 100_000
_DEFAULT_GROUP = 4
_DEEPEST = 20  # pydantic cannot serialise JSON nested 255 deep

Name = Annotated[str, StringConstraints(pattern=NAME)]
Key = Annotated[str, StringConstraints(pattern=KEY)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT)]
# No URLs: a model's name must not point the service at a server of the caller's choice.
ModelId = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][\w.:@+-]*(/[\w.:@+-]+)*$", max_length=300)
]
_JsonObject = dict[str, Any]


class TrainRequest(StrictModel):
    """A training job. The defaults are those of the original system, which this one reimplements."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=()
    )

    model_name: Name
    project: Name = "default"
    base_model: str = Field(
        "Qwen/Qwen2.5-7B-Instruct",
        min_length=1,
        max_length=300,
        description="A hub name, or a folder on the service's machine.",
    )
    num_steps: int = Field(
        10, ge=1, le=100_000, description="In total, over all jobs of the model."
    )
    batch_size: int = Field(8, ge=2, le=4_096, description="Trajectories per step.")
    group_size: int | None = Field(
        None,
        ge=2,
        le=4_096,
        description="Trajectories per scenario, compared with each other; default: 4 if that divides "
        "batch_size, otherwise all.",
    )
    learning_rate: float = Field(1e-5, gt=0, le=1)
    use_ruler: bool = Field(
        True, description="A judge scores the trajectories, instead of the environment's reward."
    )
    judge_model: ModelId = Field("gpt-4o", description="Any LiteLLM name.")
    task_prompt: Text | None = Field(
        None, description=f"The agent's instructions. Required for {TASK}, not allowed otherwise."
    )
    training_data: list[Example] | None = Field(
        None,
        min_length=1,
        max_length=100_000,
        description=f"For {TASK}; by default the service's writer writes num_examples.",
    )
    num_examples: int | None = Field(
        None, ge=2, le=10_000, description="Examples for the writer to write; default: 50."
    )
    verifier: VerifierName | None = Field(
        None, description=f"How {TASK} checks a reply against the reference answer."
    )
    environment: str = Field(TASK, min_length=1, max_length=64)
    environment_settings: _JsonObject = Field(
        default_factory=dict, description="As in section environment of a configuration."
    )
    budget: BudgetConfig = BudgetConfig()
    evaluation: bool = Field(
        False,
        description="At the end, compare the trained policy with its base model on held-out scenarios, "
        "by the environment's own reward.",
    )
    seed: int = Field(0, ge=0, le=2**32 - 1)
    idempotency_key: Key | None = Field(
        None,
        description="Requests with the same key create one job. Or use header Idempotency-Key.",
    )

    @field_validator("environment_settings")
    @classmethod
    def _is_flat(cls, settings: _JsonObject) -> _JsonObject:
        level: list[Any] = [settings]
        for _ in range(_DEEPEST):
            inside = [v.values() if isinstance(v, dict) else v for v in level]
            level = [v for values in inside for v in values if isinstance(v, dict | list)]
        if level:
            raise ValueError(f"nested more than {_DEEPEST} deep")
        return settings

    @property
    def rollouts_per_group(self) -> int:
        if self.group_size is not None:
            return self.group_size
        return _DEFAULT_GROUP if self.batch_size % _DEFAULT_GROUP == 0 else self.batch_size

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.batch_size % self.rollouts_per_group:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of group_size {self.group_size}"
            )
        if any(isinstance(v, float) and math.isinf(v) for v in self.budget.model_dump().values()):
            raise ValueError("budget: a number must be finite; null means no limit")
        if self.environment == TASK:
            if self.task_prompt is None:
                raise ValueError(f"task_prompt: required by environment {TASK}")
            if self.training_data is not None and self.num_examples is not None:
                raise ValueError("num_examples: only without training_data")
            return self
        task_fields = ("task_prompt", "training_data", "num_examples", "verifier")
        if misplaced := [name for name in task_fields if getattr(self, name) is not None]:
            raise ValueError(
                f"{', '.join(misplaced)}: only for environment {TASK}; {self.environment} has its "
                "own prompt, scenarios and reward"
            )
        return self


class Accepted(StrictModel):
    """The job queued by this request, or by an earlier one with the same idempotency key."""

    job_id: str
    project: str
    model_name: str
    status: Status
    created: bool = Field(description="false: an earlier request with this key created it.")


class Groups(StrictModel):
    """The fate of a step's trajectories. ``dropped`` counts those not trained on, by reason."""

    submitted: int
    trainable: int
    trajectories: int
    trained: int
    dropped: dict[str, int]
    first_error: str


class Step(StrictModel):
    """A training step; the ``data`` of an event ``step``."""

    step: int
    num_steps: int
    metrics: dict[str, float | None]
    groups: Groups


class PolicyScores(StrictModel):
    """Success rates of a policy on held-out scenarios; None if every rollout failed.

    Args:
        sampled: at temperature 1, which training optimises; ``greedy`` is at temperature 0.
        errors: rollouts excluded because they failed through no fault of the policy, by reason.
    """

    sampled: float | None
    greedy: float | None
    rollouts: int
    errors: dict[str, int]


class Evaluation(StrictModel):
    """The trained policy against its base, on the same held-out scenarios.

    Args:
        samples: sampled rollouts per scenario.
        gain: in sampled success; ``interval`` is its ``confidence`` interval over scenarios.
        promote: whether the whole interval is above zero; ``reason`` explains it.
    """

    scenarios: int
    samples: int
    confidence: float
    base: PolicyScores
    trained: PolicyScores
    gain: float | None
    interval: tuple[float, float] | None
    promote: bool
    reason: str
    report: str


class Result(StrictModel):
    """The result of a job.

    Args:
        stopped_by: ``max_steps``, ``converged``, ``judge_budget``, or the budget that ran out.
        adapter: the adapter's folder; like ``report`` relative to the service's data folder.
        spent: minutes, GPU hours and US dollars over all jobs of the model.
    """

    step: int
    stopped_by: str
    spent: dict[str, float]
    adapter: str
    report: str
    evaluation: Evaluation | None = None


class JobStatus(StrictModel):
    """The status of a job.

    Args:
        queue_position: 1 is next; None once it has started.
        attempts: workers started for it.
        cancelling: cancelled, but its worker has not stopped yet.
    """

    job_id: str
    project: str
    model_name: str
    status: Status
    step: int
    num_steps: int
    progress: float = Field(ge=0, le=1)
    queue_position: int | None
    attempts: int
    cancelling: bool
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    last_step: Step | None
    last_event_id: int
    error: str | None
    result: Result | None


class ModelSummary(StrictModel):
    """A model, by its newest job.

    Args:
        queue_position: 1 is next; None once it has started.
    """

    project: str
    model_name: str
    base_model: str
    environment: str
    status: Status
    step: int
    num_steps: int
    job_id: str
    queue_position: int | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class ModelList(StrictModel):
    models: list[ModelSummary]
    total: int


class ModelDetails(ModelSummary):
    """A model with its newest request and its jobs, newest first."""

    request: TrainRequest
    jobs: list[JobStatus]


class Health(StrictModel):
    """The state of the training service. ``device`` is cpu, cuda or remote; None until known."""

    status: Literal["healthy", "failing"]
    version: str
    art_backend: str
    openai_configured: bool
    wandb_configured: bool
    device: str | None
    queue_depth: int
    running: int


class FieldFault(StrictModel):
    """An invalid field of a request."""

    loc: list[str]
    msg: str
    type: str


class Problem(StrictModel):
    """Why a request is refused."""

    detail: str | list[FieldFault]


class Event(StrictModel):
    """An event of a job. Ids count from 1 without gaps."""

    id: int = Field(ge=1)
    event: str
    at: datetime
    data: _JsonObject
