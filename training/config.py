"""Settings of the training loop, of an evaluation, and of what they may cost."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from environment.base import StrictModel

# The labels of what every evaluation compares.
POLICIES = ("base", "trained", "incumbent")


class RolloutConfig(StrictModel):
    """Bounds of one rollout, the same in training and evaluation."""

    max_turns: int = Field(10, ge=1, description="Model replies.")
    max_reply_tokens: int = Field(1_024, ge=1, description="Tokens of one reply.")
    max_tokens: int = Field(8_192, ge=16, description="Tokens of the whole conversation.")
    timeout_s: float = Field(
        300, gt=0, description="By the clock, but for time in a queue of the environment's."
    )
    concurrency: int = Field(64, ge=1, description="Rollouts at once.")


class BudgetConfig(StrictModel):
    """What a run may use, over all its attempts, before it stops cleanly with its last checkpoint
    kept. A step that has begun is finished."""

    minutes: float | None = Field(None, gt=0)
    gpu_hours: float | None = Field(None, gt=0, description="Hours times GPUs.")
    cost_usd: float | None = Field(
        None, gt=0, description="GPUs, a vendor's tokens and the judge, at the prices below."
    )
    gpu_usd_per_hour: float | None = Field(None, ge=0, description="What one GPU costs.")
    usd_per_million_tokens: float | None = Field(
        None, ge=0, description="What serverless or tinker charge for a rollout's tokens."
    )


class TrainingConfig(StrictModel):
    """The defaults are those of the system this project re-builds; see configs/ for others."""

    groups_per_step: int = Field(2, ge=1, description="Scenarios a step.")
    rollouts_per_group: int = Field(4, ge=2, description="Rollouts of each scenario.")
    learning_rate: float = Field(1e-5, gt=0)
    max_steps: int = Field(20, ge=0)
    reward: Literal["ruler", "verifiable"] = Field(
        "ruler",
        description="ruler: the judge compares; verifiable: the environment's own reward.",
    )
    loss: Literal["cispo", "ppo"] = "cispo"
    scale_rewards: bool = Field(True, description="Divide advantages by the group's deviation.")
    train_scenarios: int | None = Field(None, ge=1, description="Use only so many.")
    empty_steps_limit: int = Field(
        3,
        ge=1,
        description="Stop after so many steps in a row with nothing to train on: with an "
        "error, unless it had trained and only the equal rewards of a converged policy are left.",
    )
    min_probs_corr: float = Field(
        0.99, description="Below it, sampler and trainer do not see the same policy."
    )
    on_mismatch: Literal["stop", "warn"] = Field(
        "stop", description="What to do below min_probs_corr."
    )
    keep_checkpoints: int = Field(2, ge=1, description="Newest checkpoints to keep on disk.")
    eval_every: int = Field(0, ge=0, description="Evaluate while training every so many steps.")
    eval_scenarios: int = Field(50, ge=1, description="Scenarios of such an evaluation.")
    budget: BudgetConfig = BudgetConfig()


class EvaluatedModel(StrictModel):
    """Another model to evaluate on the same scenarios: a hosted one, or a version of ours."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="Its label.")
    version: int | str | None = Field(
        None, description="A version of our model: its number, or the stage it is in."
    )
    model: str | None = Field(None, description="Any LiteLLM name, such as openai/o3.")
    api_base: str | None = Field(
        None, description="An OpenAI-compatible server to ask instead of the provider's."
    )
    api_key_env: str = Field(
        "OPENAI_API_KEY", description="Environment variable with the key for api_base."
    )
    temperature: float | None = Field(
        None, ge=0, description="Its own default if not given; some models take no other."
    )
    max_tokens: int | None = Field(
        None, ge=1, description="Of one reply, what it thinks included; default: its own limit."
    )
    timeout_s: float = Field(300, gt=0, description="Of one rollout, waits for rate limits too.")
    concurrency: int = Field(8, ge=1, description="Rollouts at once.")
    usd_per_million_in: float | None = Field(
        None, ge=0, description="Price of prompt tokens, where LiteLLM knows none."
    )
    usd_per_million_out: float | None = Field(
        None, ge=0, description="Price of completion tokens, where LiteLLM knows none."
    )

    @field_validator("name")
    @classmethod
    def _is_free(cls, value: str) -> str:
        if value in POLICIES:
            raise ValueError(f"{', '.join(POLICIES)} are names of our own policies")
        return value

    @model_validator(mode="after")
    def _is_one_thing(self) -> EvaluatedModel:
        if (self.model is None) == (self.version is None):
            raise ValueError("give either model, a LiteLLM name, or version, one of ours")
        if (self.usd_per_million_in is None) != (self.usd_per_million_out is None):
            raise ValueError("give both prices, usd_per_million_in and usd_per_million_out")
        # Not by what was given: a step's parameters come back with every field.
        changed = {n for n, f in type(self).model_fields.items() if getattr(self, n) != f.default}
        if self.version is not None and changed != {"name", "version"}:
            raise ValueError("a version of ours is sampled as the configuration says: name alone")
        return self


class EvaluationConfig(StrictModel):
    scenarios: int = Field(200, ge=1, description="Held-out scenarios, at most.")
    samples: int = Field(
        1, ge=1, description="Sampled rollouts of each scenario; more than one give pass@k."
    )
    confidence: float = Field(0.95, gt=0.5, lt=1)
    models: tuple[EvaluatedModel, ...] = Field(
        (), description="Others to compare with, on the same scenarios."
    )
    max_cost_usd: float | None = Field(
        None, gt=0, description="Spent on hosted models at most; then no more is asked of them."
    )
    usd_per_hour: float | None = Field(
        None, ge=0, description="Price of the machine our own policies run on, for their cost."
    )
    correctness: Literal["match", "judge", "both"] = Field(
        "match",
        description="What decides on success: the environment's match, or a judge (section "
        "judge); both: the match, with the judge's agreement reported.",
    )

    @field_validator("models")
    @classmethod
    def _have_names_of_their_own(
        cls, value: tuple[EvaluatedModel, ...]
    ) -> tuple[EvaluatedModel, ...]:
        names = [model.name for model in value]
        if len(set(names)) != len(names):
            raise ValueError("two models have the same name")
        return value

    @property
    def hosted(self) -> list[EvaluatedModel]:
        return [one for one in self.models if one.model is not None]
