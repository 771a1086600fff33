"""Settings of the training loop, of an evaluation, and of what they may cost."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from environment.base import StrictModel


class RolloutConfig(StrictModel):
    """Bounds of one rollout, the same in training and evaluation."""

    max_turns: int = Field(10, ge=1, description="Model replies.")
    max_reply_tokens: int = Field(1_024, ge=1, description="Tokens of one reply.")
    max_tokens: int = Field(8_192, ge=16, description="Tokens of the whole conversation.")
    timeout_s: float = Field(300, gt=0)
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
        0.99, description="Below it, sampler and trainer disagree: a loud warning."
    )
    keep_checkpoints: int = Field(2, ge=1, description="Newest checkpoints to keep on disk.")
    eval_every: int = Field(0, ge=0, description="Evaluate while training every so many steps.")
    eval_scenarios: int = Field(50, ge=1, description="Scenarios of such an evaluation.")
    budget: BudgetConfig = BudgetConfig()


class EvaluationConfig(StrictModel):
    scenarios: int = Field(200, ge=1, description="Held-out scenarios, at most.")
    confidence: float = Field(0.95, gt=0.5, lt=1)
