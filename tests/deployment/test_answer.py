"""Why there is no answer where an agent gave none."""

from __future__ import annotations

import pytest

from deployment.answer import no_answer
from environment.base import Outcome, StopReason
from environment.deployable import Finding

REASONS = {
    StopReason.FINISHED: "the agent gave no answer",
    StopReason.NO_TOOL_CALL: "the agent stopped without giving an answer",
    StopReason.MALFORMED_CALL: "the agent made a call that could not be read",
    StopReason.OUT_OF_TURNS: "the agent used up its turns without finding an answer",
    StopReason.OVER_LENGTH: "the conversation grew beyond what the model can hold",
    StopReason.TIMEOUT: "the agent took too long",
    StopReason.ERROR: "the agent gave no answer",
}


@pytest.mark.parametrize("stop", StopReason)
def test_without_an_answer_the_reason_is_how_the_agent_ended(stop: StopReason) -> None:
    assert no_answer(Outcome(stop)) == Finding(None, reason=REASONS[stop])
