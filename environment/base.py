"""The interface of every environment.

Rollouts, training, evaluation and deployment rely on this interface alone, so a new environment is
one folder (see CONTRIBUTING.md). An environment owns its scenarios, tools and reward; it knows
nothing about models, trainers or pipelines.
"""

from __future__ import annotations

import random
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
    """The agent ended the episode."""
    NO_TOOL_CALL = "no_tool_call"
    """The agent wrote plain text instead of calling a tool."""
    MALFORMED_CALL = "malformed_call"
    """The agent attempted a tool call that could not be parsed."""
    OUT_OF_TURNS = "out_of_turns"
    """The agent used all its turns without finishing."""
    OVER_LENGTH = "over_length"
    """The conversation exceeded the token budget."""
    TIMEOUT = "timeout"
    """The rollout exceeded its wall-clock limit."""
    ERROR = "error"
    """Something outside the agent failed: the model server or the environment."""


class UserError(Exception):
    """An error for the user to fix; shown without a traceback."""


class WorldFailed(UserError):
    """A dependency of the environment failed, through no fault of the agent. The rollout ends with
    ``StopReason.ERROR``, is not scored, and is reported under ``kind``, one word."""

    kind = "environment"


class EnvironmentUnavailable(UserError):
    """The environment cannot run here; the message says what to install or change."""


class UndeclaredReward(UserError):
    """A reward has a reason or a metric that its environment does not declare."""

    def __init__(self, environment: str, attribute: str, name: str) -> None:
        super().__init__(
            f"environment {environment} gave {name!r}: declare it, with its meaning, in the "
            f"environment's {attribute}"
        )


def is_utf8(text: str) -> bool:
    """Whether a text contains no lone surrogates, which files and model APIs reject."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def off_the_clock() -> AbstractContextManager[None]:
    """Stop the rollout's clock, for example while it queues behind other rollouts."""
    return stop_clock.get()()


class StrictModel(BaseModel):
    """Base of every configuration and record: frozen, rejects unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SplitReport(StrictModel):
    """Number of usable scenarios per split, and of skipped ones by reason."""

    train: int
    test: int
    skipped: dict[str, int]


@dataclass(frozen=True, slots=True)
class ScenarioView:
    """How a report shows a scenario.

    Args:
        question: the task, in words.
        gold: the right answer, if any.
        kind: reports break results down by it.
        cluster: groups dependent scenarios (say, about the same email); confidence intervals
            resample whole clusters. By default each scenario is its own.
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
        return ScenarioView(question=self.id)


@dataclass(slots=True)
class Outcome:
    """What happened in one rollout. Subclasses add what their reward needs.

    Args:
        answer: the agent's answer, for reports and judges; None if it gave none.
    """

    stop: StopReason
    turns: int = 0
    tool_errors: int = 0
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class Reward:
    """A scored outcome.

    Args:
        value: the scalar that GRPO compares within a group, on any scale.
        success: whether the task was solved; evaluations report the success rate.
        reason: one word that explains the value: a stop reason or one of the environment's
            ``verdicts``.
        metrics: numbers to average over rollouts, each declared in the environment's ``metrics``.
        cites_source: whether the answer cites a source that supports it; None if the environment
            requires no sources.
    """

    value: float
    success: bool
    reason: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    cites_source: bool | None = None


Watch = Callable[[dict[str, Any]], None]
# Set by the rollout's runner; entered by ``off_the_clock``.
stop_clock: ContextVar[Callable[[], AbstractContextManager[None]]] = ContextVar(
    "stop_clock", default=nullcontext
)
ScenarioT = TypeVar("ScenarioT", bound=Scenario)
OutcomeT = TypeVar("OutcomeT", bound=Outcome)


class Session(ABC, Generic[OutcomeT]):
    """The world of one rollout: fresh, isolated, and bound to one scenario.

    Hundreds of sessions run concurrently, so sessions share no mutable state.

    Attributes:
        user_prompt: the task, as the agent's first message.
        tools: a tool answers a bad call with a text that says what to do; an exception means that
            the environment failed, not the agent. Tools that wait are coroutines.
        takes_text: whether plain text is a move (``take_text``) rather than the end.
        finished: True once the agent has ended the episode.
        watch: called with JSON-serialisable records of the agent's actions as they happen; each
            has ``event``, the other keys are the environment's own.
    """

    user_prompt: str
    tools: Sequence[BaseTool]
    takes_text: bool = False
    finished: bool = False
    watch: Watch | None = None

    def note(self, event: str, **details: Any) -> None:
        """Send a record to ``watch``."""
        if self.watch:
            self.watch({"event": event, **details})

    @abstractmethod
    def outcome(self, stop: StopReason, turns: int) -> OutcomeT:
        """The outcome to be rewarded."""

    async def take_text(self, text: str) -> str:
        """Handle plain text from the agent and return the reply, which it sees unless
        ``finished``."""
        raise NotImplementedError(f"{type(self).__name__} sets takes_text without take_text")

    def tool_failed(self) -> None:
        """Called when the agent calls an unknown tool or passes arguments that the schema
        rejects."""

    def close(self) -> None:
        """Release resources. Called exactly once, however the rollout ended."""


class Environment(ABC, Generic[ScenarioT, OutcomeT]):
    """A family of scenarios with their tools and their reward.

    Attributes:
        name: the name of its folder.
        system_prompt: the agent's system prompt.
        tool_schemas: the tools as OpenAI function schemas; the same for every session.
        has_reward: False if ``reward`` is uninformative and a judge is needed.
        verdicts: reward reasons other than stop reasons, with their meanings.
        metrics: reward metrics, with their meanings.
    """

    name: str
    system_prompt: str
    tool_schemas: Sequence[dict[str, Any]]
    has_reward: bool = True
    verdicts: Mapping[str, str] = MappingProxyType({})
    metrics: Mapping[str, str] = MappingProxyType({})
    _scenarios: Sequence[ScenarioT] = ()

    @property
    def meanings(self) -> Mapping[str, str]:
        """What verdicts and metrics mean, for reports."""
        return {**self.verdicts, **self.metrics}

    def scenarios(
        self, split: Split, limit: int | None = None, seed: int = 0
    ) -> Sequence[ScenarioT]:
        """At most ``limit`` scenarios of a split, in an order that depends on ``seed`` alone."""
        chosen = sorted((s for s in self._scenarios if s.split == split), key=lambda s: s.id)
        random.Random(f"{seed} {split}").shuffle(chosen)
        return chosen[:limit]

    @abstractmethod
    def session(self, scenario: ScenarioT) -> Session[OutcomeT]:
        """Open the world of one rollout."""

    @abstractmethod
    def reward(self, scenario: ScenarioT, outcome: OutcomeT) -> Reward:
        """Score an outcome: pure and deterministic."""

    def score(self, scenario: ScenarioT, outcome: OutcomeT) -> Reward:
        """``reward``, validated.

        Raises:
            UndeclaredReward: its reason or a metric is not declared.
        """
        reward = self.reward(scenario, outcome)
        if reward.reason not in self.verdicts and reward.reason not in set(StopReason):
            raise UndeclaredReward(self.name, "verdicts", reward.reason)
        if undeclared := reward.metrics.keys() - self.metrics.keys():
            raise UndeclaredReward(self.name, "metrics", min(undeclared))
        return reward

    def close(self) -> None:
        """Release resources (a database, a pool)."""
