"""The records of the code environment: a problem with its tests, and what became of a program."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from environment.base import Outcome, Scenario, ScenarioView
from environment.code.assertions import take_apart


class Verdict(StrEnum):
    """What became of a program. Every submitted program has exactly one."""

    PASSED = "passed"
    """Every test held."""
    SYNTAX = "syntax"
    """It is no Python, or the reply held no program."""
    EXCEPTION = "exception"
    """It raised, or ended the process, where a test wanted a value."""
    WRONG_ANSWER = "wrong_answer"
    """A test got another value than it wanted."""
    TIMEOUT = "timeout"
    """It ran longer than it may, by the clock or by the processor."""
    MEMORY = "memory"
    """It wanted more memory than it may have."""
    OUTPUT = "output"
    """It wrote more than it may."""
    NOTHING = "nothing"
    """The agent submitted none."""


class CodeProblem(Scenario):
    """A task to solve in Python, and the tests that a solution must pass.

    Args:
        id: of the problem in its source, such as ``mbpp/601``.
        text: the task in words.
        visible_tests: ``assert`` statements that the agent sees and gets feedback from.
        hidden_tests: those that decide the reward; the agent never sees them.
        setup: Python that runs before the program and before each test (imports).
        solution: a program known to pass, where the source has one.
        kind: a family or a degree of difficulty, for reports.
    """

    text: str = Field(min_length=1)
    visible_tests: tuple[str, ...] = ()
    hidden_tests: tuple[str, ...] = Field(min_length=1)
    setup: str = ""
    solution: str = ""
    kind: str = "problem"

    @property
    def view(self) -> ScenarioView:
        return ScenarioView(self.text, self.solution, self.kind or "all")

    @model_validator(mode="after")
    def _tests_can_be_taken_apart(self) -> Self:
        for test in (*self.visible_tests, *self.hidden_tests):
            take_apart(test, self.setup, self.solution)
        return self


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run of a program against tests.

    Args:
        feedback: one short text for the agent about the first test that failed; empty if all held.
        passed, total: tests.
        seconds: of sandbox time.
    """

    verdict: Verdict
    passed: int
    total: int
    feedback: str = ""
    seconds: float = 0.0


@dataclass(slots=True)
class CodeOutcome(Outcome):
    """
    Args:
        attempts: programs that ran against the visible tests.
        final: the submitted program against the hidden tests; None if none was submitted.
        executions, failures, timeouts, sandbox_seconds: of the sandbox, for its metrics; a failure
            is one the sandbox itself is to blame for; the seconds are without waiting for a place.
    """

    attempts: list[Attempt] = field(default_factory=list)
    final: Attempt | None = None
    executions: int = 0
    failures: int = 0
    timeouts: int = 0
    sandbox_seconds: float = 0.0

    @property
    def submitted(self) -> int:
        """Programs that the agent wrote to be judged."""
        return len(self.attempts)
