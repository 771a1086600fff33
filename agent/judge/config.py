"""Judge settings."""

from __future__ import annotations

from pydantic import Field

from environment.language_model import LlmConfig


class JudgeConfig(LlmConfig):
    """A language model that scores rollouts."""

    window_tokens: int = Field(
        100_000,
        ge=1_000,
        description="Prompt tokens the judge can read, at 3 bytes each; longer tool results are "
        "cut in the middle. Leave room for its answer.",
    )
    second_order_share: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Fraction of groups judged again in reverse order to measure consistency; "
        "their score is the mean.",
    )
