"""Which judge, what it can read, and how it can fail."""

from __future__ import annotations

from pydantic import Field

from agent.hosted.llm import LlmConfig, LlmUnavailable, check_llm


class JudgeConfig(LlmConfig):
    """A language model that scores what the agent did."""

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
        description="Share of groups judged a second time in the reverse order, to see whether "
        "the judge says the same; the score is the mean.",
    )


class JudgeUnavailable(LlmUnavailable):
    """The judge cannot be asked at all; the text says what to set."""


class JudgeFailed(RuntimeError):
    """The judge gave no usable judgement; the text says why."""


def check_judge(config: JudgeConfig) -> None:
    """
    Raises:
        JudgeUnavailable: the environment has no key for it, or its cost is bounded but unknown.
    """
    try:
        check_llm(config)
    except LlmUnavailable as error:
        raise JudgeUnavailable(
            f"judge: {error} (training.reward: verifiable needs no judge)"
        ) from error
