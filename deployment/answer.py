"""The answer of a deployment, for any environment."""

from __future__ import annotations

from environment.base import Outcome, StopReason, StrictModel
from environment.deployable import Finding

_WHY_NOT = {
    StopReason.NO_TOOL_CALL: "the agent stopped without giving an answer",
    StopReason.MALFORMED_CALL: "the agent made a malformed tool call",
    StopReason.OUT_OF_TURNS: "the agent used up its turns without finding an answer",
    StopReason.OVER_LENGTH: "the conversation exceeded the model's limit",
    StopReason.TIMEOUT: "the agent took too long",
}


class Checkpoint(StrictModel):
    """The weights and the data behind an answer.

    Args:
        run: name of the training run.
        trained_on: digest of the training data.
        mails: digest of the data that answers come from.
    """

    model: str
    version: str
    step: int
    run: str
    trained_on: str
    mails: str


class Answer(StrictModel):
    """The agent's answer. Without success, ``answer`` says that nothing was found, ``reason`` says why,
    and there are no sources."""

    question: str
    answer: str
    source_ids: list[str]
    success: bool
    reason: str | None
    checkpoint: Checkpoint
    turns: int
    latency_ms: float


def no_answer(outcome: Outcome) -> Finding:
    """The finding of a rollout that ended without an answer."""
    return Finding(None, reason=_WHY_NOT.get(outcome.stop, "the agent gave no answer"))
