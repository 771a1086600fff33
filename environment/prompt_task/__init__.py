"""Any task described by a prompt: the agent answers each example in plain text, in one turn.

A verifier compares the answer with the example's. Without a verifier, a judge has to score the
rollouts (``training.reward: ruler``), which needs no reference answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from environment.base import Environment, Reward, Session, StopReason
from environment.package import EnvironmentPackage
from environment.prompt_task.config import PromptTaskConfig, PromptTaskDataConfig
from environment.prompt_task.examples import check_examples, read_examples, scenarios_of
from environment.prompt_task.models import PromptOutcome, PromptScenario
from environment.prompt_task.stages import stages
from environment.prompt_task.verifiers import verify

VERDICTS = {
    "right": "the verifier accepts the answer",
    "wrong": "the verifier rejects the answer",
    "not_verified": "there is no verifier, or no reference answer",
}
METRICS = {"answer_chars": "length of the answer in characters"}


class PromptSession(Session[PromptOutcome]):
    """One prompt and the answer to it."""

    takes_text = True

    def __init__(self, scenario: PromptScenario, config: PromptTaskConfig) -> None:
        self.user_prompt, self.tools = scenario.prompt, ()
        self._scenario, self._config = scenario, config
        self._answer: str | None = None
        self._verified: bool | None = None
        self._tool_errors = 0

    async def take_text(self, text: str) -> str:
        """
        Raises:
            PatternTooSlow: matching the example's pattern timed out.
        """
        self._answer, self.finished = text, True
        reference, config = self._scenario.reference, self._config
        # Not in the reward, which must not depend on how busy the machine is.
        if config.verifier and reference is not None:
            self._verified = verify(
                config.verifier,
                text,
                reference,
                ignore_case=config.ignore_case,
                tolerance=config.tolerance,
            )
        self.note("answered", verified=self._verified)
        return ""

    def outcome(self, stop: StopReason, turns: int) -> PromptOutcome:
        return PromptOutcome(stop, turns, self._tool_errors, self._answer, self._verified)

    def tool_failed(self) -> None:
        self._tool_errors += 1


class PromptTaskEnvironment(Environment[PromptScenario, PromptOutcome]):
    """Examples under one system prompt."""

    name = "prompt_task"
    verdicts, metrics = VERDICTS, METRICS
    tool_schemas = ()

    def __init__(self, scenarios: Sequence[PromptScenario], config: PromptTaskConfig) -> None:
        self._scenarios, self._config = list(scenarios), config
        self.system_prompt = config.task_prompt
        self.has_reward = config.verifier is not None

    def session(self, scenario: PromptScenario) -> PromptSession:
        return PromptSession(scenario, self._config)

    def reward(self, scenario: PromptScenario, outcome: PromptOutcome) -> Reward:
        """1 for an answer that the verifier accepts, otherwise 0."""
        right = outcome.verified is True
        if outcome.answer is None:
            reason = str(outcome.stop)
        elif outcome.verified is None:
            reason = "not_verified"
        else:
            reason = "right" if right else "wrong"
        length = float(len(outcome.answer or ""))
        return Reward(float(right), success=right, reason=reason, metrics={"answer_chars": length})


def open_environment(
    artifacts: dict[str, Path], config: PromptTaskConfig, max_turns: int
) -> PromptTaskEnvironment:
    """Open the environment from the ``scenarios`` artifact, a JSONL file of examples.

    Raises:
        ExampleError: it contains no example, or one that the verifier cannot check.
    """
    examples = read_examples(artifacts["scenarios"])
    check_examples(examples, config.verifier)
    return PromptTaskEnvironment(scenarios_of(examples, config.held_out_share), config)


PACKAGE = EnvironmentPackage(
    config=PromptTaskConfig,
    data=PromptTaskDataConfig,
    open=open_environment,
    artifacts=("scenarios",),
    stages=stages,
)
