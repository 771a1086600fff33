"""The contract every environment fulfils.

The rollout, the training loop, the evaluation and the deployed service speak only this
contract, so an environment is added in one folder (see CONTRIBUTING.md). An environment owns
its scenarios, its tools and its reward, and nothing else: it knows no model, no trainer and
no pipeline.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Generic, Literal, TypeVar

from langchain_core.tools import BaseTool
from pydantic import BaseModel, ConfigDict

Split = Literal["train", "test"]


class StopReason(StrEnum):
    """Why a rollout ended. Every rollout has exactly one."""

    FINISHED = "finished"
    """The agent called the tool that ends the episode."""
    NO_TOOL_CALL = "no_tool_call"
    """The agent wrote plain text instead of calling a tool."""
    MALFORMED_CALL = "malformed_call"
    """The agent tried to call a tool, but the call could not be parsed."""
    OUT_OF_TURNS = "out_of_turns"
    """The agent used all its turns without finishing."""
    OVER_LENGTH = "over_length"
    """The conversation no longer fits the token budget."""
    TIMEOUT = "timeout"
    """The rollout took longer than its wall-clock limit."""
    ERROR = "error"
    """Something outside the agent failed: the model server or the environment."""


class UserError(Exception):
    """A failure that is the user's to mend; shown without a traceback."""


class WorldFailed(UserError):
    """Something the environment depends on failed, through no fault of the agent: the rollout ends
    with ``StopReason.ERROR``, counts for nothing and is reported under ``kind``, one word."""

    kind = "environment"


class EnvironmentUnavailable(UserError):
    """The environment cannot work on this machine; the text says what to install or change."""


class UndeclaredReward(UserError):
    """A reward with a reason or a metric that its environment does not declare."""

    def __init__(self, environment: str, attribute: str, name: str) -> None:
        super().__init__(
            f"environment {environment} gave {name!r}: declare it, with its meaning, in the "
            f"environment's {attribute}"
        )


def is_utf8(text: str) -> bool:
    """Whether a text can be written to a file and sent to a model: a lone surrogate cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def off_the_clock() -> AbstractContextManager[None]:
    """For the time in a queue that other rollouts fill: it does not count as this one's."""
    return stop_clock.get()()


class StrictModel(BaseModel):
    """Base of every configuration and record: frozen, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class ScenarioView:
    """What a report shows of a scenario.

    Args:
        question: the task, in words.
        gold: the right answer, if there is one to show.
        kind: results are broken down by it.
        cluster: scenarios of one cluster depend on each other (the same mail, the same source), so
            intervals resample whole clusters; by default each is its own.
    """

    question: str = ""
    gold: str = ""
    kind: str = "all"
    cluster: str = ""


class Scenario(StrictModel):
    """One task of an environment. Subclasses add the prompt parts and the gold answer."""

    id: str
    split: Split

    @property
    def view(self) -> ScenarioView:
        """What a report shows of it."""
        return ScenarioView(question=self.id)


@dataclass(slots=True)
class Outcome:
    """What one rollout did, as the session saw it. Subclasses add what their reward needs.

    Args:
        answer: what the agent answered, for reports and judges; None if it gave no answer.
    """

    stop: StopReason
    turns: int = 0
    tool_errors: int = 0
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class Reward:
    """A scored outcome.

    Args:
        value: the scalar that GRPO compares within a group; its scale is the environment's own.
        success: whether the task was solved; the share of successes is what evaluations report.
        reason: one short word for a report: why the value is what it is. Either a stop reason or
            one of the environment's ``verdicts``.
        metrics: numbers worth averaging over rollouts, each declared in the environment's
            ``metrics``.
        cites_source: whether the answer cites a source it stands in; None where the environment
            asks for no sources.
    """

    value: float
    success: bool
    reason: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    cites_source: bool | None = None


Watch = Callable[[dict[str, Any]], None]
# What ``off_the_clock`` enters: whoever runs a rollout says how its clock is stopped.
stop_clock: ContextVar[Callable[[], AbstractContextManager[None]]] = ContextVar(
    "stop_clock", default=nullcontext
)
ScenarioT = TypeVar("ScenarioT", bound=Scenario)
OutcomeT = TypeVar("OutcomeT", bound=Outcome)


class Session(ABC, Generic[OutcomeT]):
    """The world of one rollout: fresh, isolated, and bound to one scenario.

    Hundreds of sessions run at once, so a session holds its state itself and shares nothing
    it could change.

    Attributes:
        user_prompt: the task, as the agent's first message.
        tools: a tool answers a bad call with a text that says what to do; an exception it raises
            is a fault of the environment, not of the agent. One that waits is a coroutine.
        takes_text: plain text is a move (``take_text``), and not the end.
        finished: True once the agent has called the tool that ends the episode.
        watch: told of what the agent does as it happens, in records that JSON can hold; each has
            ``event``, the environment decides on the rest.
    """

    user_prompt: str
    tools: Sequence[BaseTool]
    takes_text: bool = False
    finished: bool = False
    watch: Watch | None = None

    def note(self, event: str, **details: Any) -> None:
        """Tell whoever watches."""
        if self.watch:
            self.watch({"event": event, **details})

    @abstractmethod
    def outcome(self, stop: StopReason, turns: int) -> OutcomeT:
        """What happened, for the reward."""

    async def take_text(self, text: str) -> str:
        """The agent wrote plain text: the answer to it, which it sees unless it is ``finished``."""
        raise NotImplementedError(f"{type(self).__name__} says takes_text, and takes none")

    def tool_failed(self) -> None:
        """The agent called an unknown tool, or one with arguments its schema refuses."""

    def close(self) -> None:
        """Release what the session holds. Called exactly once, however the rollout ended."""


class Environment(ABC, Generic[ScenarioT, OutcomeT]):
    """A family of scenarios with their tools and their reward.

    Attributes:
        name: that of its folder.
        system_prompt: what every agent in it is told.
        tool_schemas: the tools as OpenAI function schemas; the same for every session.
        has_reward: False where ``reward`` can tell nothing, and a judge must.
        verdicts: the reasons of its rewards beside the stop reasons, each with its meaning.
        metrics: the names of its rewards' metrics, each with its meaning.
    """

    name: str
    system_prompt: str
    tool_schemas: Sequence[dict[str, Any]]
    has_reward: bool = True
    verdicts: Mapping[str, str] = MappingProxyType({})
    metrics: Mapping[str, str] = MappingProxyType({})

    @abstractmethod
    def scenarios(
        self, split: Split, limit: int | None = None, seed: int = 0
    ) -> Sequence[ScenarioT]:
        """The scenarios of a split in an order that only ``seed`` decides, at most ``limit``."""

    @abstractmethod
    def session(self, scenario: ScenarioT) -> Session[OutcomeT]:
        """Open the world of one rollout."""

    @abstractmethod
    def reward(self, scenario: ScenarioT, outcome: OutcomeT) -> Reward:
        """Score an outcome: pure and deterministic."""

    def score(self, scenario: ScenarioT, outcome: OutcomeT) -> Reward:
        """``reward``, held to what the environment declares.

        Raises:
            UndeclaredReward: it has a reason or a metric that the environment does not declare.
        """
        reward = self.reward(scenario, outcome)
        if reward.reason not in self.verdicts and reward.reason not in set(StopReason):
            raise UndeclaredReward(self.name, "verdicts", reward.reason)
        if undeclared := reward.metrics.keys() - self.metrics.keys():
            raise UndeclaredReward(self.name, "metrics", min(undeclared))
        return reward

    def close(self) -> None:
        """Release what the environment holds (a database, a pool)."""
