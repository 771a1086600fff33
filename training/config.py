"""Settings of training, evaluation and their budgets."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from environment.base import StrictModel

# Labels of our own policies in an evaluation.
POLICIES = ("base", "trained", "incumbent")


class RolloutConfig(StrictModel):
    """Limits of a rollout, the same in training and evaluation."""

    max_turns: int = Field(10, ge=1, description="Model replies.")
    max_reply_tokens: int = Field(1_024, ge=1, description="Tokens of one reply.")
    max_tokens: int = Field(8_192, ge=16, description="Tokens of the whole conversation.")
    timeout_s: float = Field(
        300, gt=0, description="Wall-clock, without time in the environment's queues."
    )
    concurrency: int = Field(64, ge=1, description="Rollouts at once.")


class BudgetConfig(StrictModel):
    """What a run may use over all its attempts. It then finishes its step and stops, keeping its last
    checkpoint."""

    minutes: float | None = Field(None, gt=0)
    gpu_hours: float | None = Field(None, gt=0, description="Hours times GPUs.")
    cost_usd: float | None = Field(
        None, gt=0, description="GPUs and tokens at the prices below, and the judge."
    )
    gpu_usd_per_hour: float | None = Field(None, ge=0, description="Price of one GPU.")
    usd_per_million_tokens: float | None = Field(
        None, ge=0, description="Price of rollout tokens at serverless or tinker."
    )


class TrainingConfig(StrictModel):
    """The defaults are those of the original system, which this project rebuilds."""

    groups_per_step: int = Field(2, ge=1, description="Scenarios per step.")
    rollouts_per_group: int = Field(4, ge=2, description="Rollouts per scenario.")
    learning_rate: float = Field(1e-5, gt=0)
    max_steps: int = Field(20, ge=0)
    reward: Literal["ruler", "verifiable"] = Field(
        "ruler",
        description="ruler: a judge scores each group; verifiable: the environment's own reward.",
    )
    loss: Literal["cispo", "ppo"] = "cispo"
    scale_rewards: bool = Field(
        True, description="Divide advantages by the group's standard deviation."
    )
    train_scenarios: int | None = Field(
        None, ge=1, description="Train on only this many scenarios."
    )
    empty_steps_limit: int = Field(
        3,
        ge=1,
        description="Stop after this many consecutive steps with nothing to train on: as converged if "
        "the run had trained before and only equal rewards are left, otherwise with an error.",
    )
    min_probs_corr: float = Field(
        0.99, description="Lowest correlation of sampler and trainer probabilities."
    )
    on_mismatch: Literal["stop", "warn"] = Field(
        "stop", description="What to do below min_probs_corr."
    )
    keep_checkpoints: int = Field(2, ge=1, description="Newest checkpoints to keep on disk.")
    eval_every: int = Field(0, ge=0, description="Validate every this many steps; 0: never.")
    eval_scenarios: int = Field(50, ge=1, description="Scenarios of a validation.")
    budget: BudgetConfig = BudgetConfig()


class EvaluatedModel(StrictModel):
    """Another model to evaluate on the same scenarios: a hosted model or a version of ours."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="Its label.")
    version: int | str | None = Field(
        None, description="A version of our model, by number or stage."
    )
    model: str | None = Field(None, description="Any LiteLLM name, such as openai/o3.")
    api_base: str | None = Field(
        None, description="An OpenAI-compatible server to call instead of the provider."
    )
    api_key_env: str = Field(
        "OPENAI_API_KEY", description="Environment variable with the key for api_base."
    )
    temperature: float | None = Field(
        None, ge=0, description="Default: the model's own; some models accept no other."
    )
    max_tokens: int | None = Field(
        None, ge=1, description="Of a reply, including reasoning; default: the model's own limit."
    )
    timeout_s: float = Field(
        300, gt=0, description="Of a rollout, including waits for rate limits."
    )
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
            raise ValueError(f"{', '.join(POLICIES)} are reserved for our own policies")
        return value

    @model_validator(mode="after")
    def _is_one_thing(self) -> EvaluatedModel:
        if (self.model is None) == (self.version is None):
            raise ValueError("set either model, a LiteLLM name, or version, one of ours")
        if (self.usd_per_million_in is None) != (self.usd_per_million_out is None):
            raise ValueError("set both usd_per_million_in and usd_per_million_out")
        # Not model_fields_set: ZenML returns a step's parameters with every field set.
        changed = {n for n, f in type(self).model_fields.items() if getattr(self, n) != f.default}
        if self.version is not None and changed != {"name", "version"}:
            raise ValueError(
                "a version of ours takes only a name: rollout has its sampling settings"
            )
        return self


class EvaluationConfig(StrictModel):
    scenarios: int = Field(200, ge=1, description="At most this many held-out scenarios.")
    samples: int = Field(
        1, ge=1, description="Sampled rollouts per scenario; more than one give pass@k."
    )
    confidence: float = Field(0.95, gt=0.5, lt=1)
    models: tuple[EvaluatedModel, ...] = Field((), description="Other models to compare with.")
    max_cost_usd: float | None = Field(
        None, gt=0, description="Budget for hosted models; no more requests once it is spent."
    )
    usd_per_hour: float | None = Field(
        None, ge=0, description="Price of the machine that runs our own policies."
    )
    correctness: Literal["match", "judge", "both"] = Field(
        "match",
        description="What decides success: the environment's match, or a judge (section judge); both: "
        "the match, with the judge's agreement reported.",
    )

    @field_validator("models")
    @classmethod
    def _names_are_unique(cls, value: tuple[EvaluatedModel, ...]) -> tuple[EvaluatedModel, ...]:
        names = [model.name for model in value]
        if len(set(names)) != len(names):
            raise ValueError("two models have the same name")
        return value

    @property
    def hosted(self) -> list[EvaluatedModel]:
        return [entry for entry in self.models if entry.model is not None]
