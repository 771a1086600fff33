"""Records of the code environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from environment.base import Outcome, Scenario, ScenarioView
from environment.code.assertions import take_apart


class Verdict(StrEnum):
    """The result of a submitted program; see ``rewards.VERDICTS``."""

    PASSED = "passed"
    SYNTAX = "syntax"
    EXCEPTION = "exception"
    WRONG_ANSWER = "wrong_answer"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    OUTPUT = "output"
    NOTHING = "nothing"


class CodeProblem(Scenario):
    """A task to solve in Python, and the tests that a solution must pass.

    Args:
        id: unique in its source, such as ``mbpp/601``.
        text: the task in words.
        visible_tests: ``assert`` statements that the agent sees and gets feedback from.
        hidden_tests: ``assert`` statements that decide the reward; the agent never sees them.
        setup: Python to run before the program and before each test (imports).
        solution: a reference solution, if the source has one.
        kind: a family or difficulty, for reports.
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
        passed, total: number of tests.
        feedback: a short text for the agent about the first failed test; empty if all passed.
        seconds: sandbox time.
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
        attempts: runs against the visible tests.
        final: the submitted program's run against the hidden tests; None if none was submitted.
        executions, timeouts: sandbox runs.
        failures: sandbox runs that failed through the sandbox's own fault.
        sandbox_seconds: total, excluding time in the queue.
    """

    attempts: list[Attempt] = field(default_factory=list)
    final: Attempt | None = None
    executions: int = 0
    failures: int = 0
    timeouts: int = 0
    sandbox_seconds: float = 0.0
