"""What a deployment answers, whatever environment it answers from."""

from __future__ import annotations

from environment.base import Outcome, StopReason, StrictModel
from environment.deployable import Finding

_WHY_NOT = {
    StopReason.NO_TOOL_CALL: "the agent stopped without giving an answer",
    StopReason.MALFORMED_CALL: "the agent made a call that could not be read",
    StopReason.OUT_OF_TURNS: "the agent used up its turns without finding an answer",
    StopReason.OVER_LENGTH: "the conversation grew beyond what the model can hold",
    StopReason.TIMEOUT: "the agent took too long",
}


class Checkpoint(StrictModel):
    """Which weights answered, and from which data.

    Args:
        run: the training run that made it; its folder holds every step.
        trained_on: digest of the data it was trained on.
        mails: digest of the data it answers from.
    """

    model: str
    version: str
    step: int
    run: str
    trained_on: str
    mails: str


class Answer(StrictModel):
    """What the agent answered. Without success ``answer`` says that nothing was found, ``reason``
    says why, and there is no source."""

    question: str
    answer: str
    source_ids: list[str]
    success: bool
    reason: str | None
    checkpoint: Checkpoint
    turns: int
    latency_ms: float


def no_answer(outcome: Outcome) -> Finding:
    """Of a rollout that ended without an answer: why."""
    return Finding(None, reason=_WHY_NOT.get(outcome.stop, "the agent gave no answer"))
