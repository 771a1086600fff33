"""Write Python that passes hidden tests; programs run in a sandbox."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from environment.base import Environment, EnvironmentUnavailable, Reward
from environment.code import prompts
from environment.code.config import CodeConfig, CodeDataConfig
from environment.code.models import CodeOutcome, CodeProblem
from environment.code.prepare import ProblemSettings, load_problems
from environment.code.rewards import METRICS, VERDICTS, code_reward
from environment.code.sandbox.base import Sandbox
from environment.code.sandbox.choice import open_sandbox
from environment.code.session import CodeSession, RefineSession, ToolsSession, tool_schemas
from environment.code.sources import fingerprint, read_problems
from environment.package import EnvironmentPackage, Stage

_JOB_BYTES = 4


class CodeEnvironment(Environment[CodeProblem, CodeOutcome]):
    """Programming problems and the sandbox that runs the solutions."""

    name = "code"
    verdicts, metrics = VERDICTS, METRICS

    def __init__(
        self, problems: Sequence[CodeProblem], sandbox: Sandbox, config: CodeConfig
    ) -> None:
        self._scenarios, self._sandbox, self._config = list(problems), sandbox, config
        self._tags = {"job": secrets.token_hex(_JOB_BYTES)}
        refine = config.style == "refine"
        self.system_prompt = prompts.REFINE_SYSTEM if refine else prompts.TOOLS_SYSTEM
        self.tool_schemas = [] if refine else tool_schemas()

    def session(self, scenario: CodeProblem) -> CodeSession:
        if self._config.style == "tools":
            return ToolsSession(scenario, self._sandbox, self._tags)
        return RefineSession(scenario, self._sandbox, self._tags, self._config.max_attempts)

    def reward(self, scenario: CodeProblem, outcome: CodeOutcome) -> Reward:
        return code_reward(outcome, self._config.shaping)

    def close(self) -> None:
        asyncio.run(self._sandbox.close())


def check(config: CodeConfig, max_turns: int) -> None:
    """
    Raises:
        EnvironmentUnavailable: the configured sandbox cannot run here, or a rollout has fewer
            turns than attempts.
    """
    if config.style == "refine" and config.max_attempts > max_turns:
        raise EnvironmentUnavailable(
            f"environment.max_attempts is {config.max_attempts}, but rollout.max_turns only "
            f"{max_turns}: each attempt takes a turn"
        )
    open_sandbox(config.sandbox)  # starts nothing before its first program


def open_environment(
    artifacts: dict[str, Path], config: CodeConfig, max_turns: int
) -> CodeEnvironment:
    """Open the environment from the data pipeline's ``scenarios`` artifact.

    Raises:
        SandboxUnavailable: the configured sandbox cannot run here.
    """
    sandbox = open_sandbox(config.sandbox)
    return CodeEnvironment(read_problems(artifacts["scenarios"]), sandbox, config)


def stages(data: CodeDataConfig, config: CodeConfig) -> list[Stage]:
    """Load the problems, verifying each by running its own solution."""
    code = ("assertions", "driver", "grader", "models", "sources", "values")
    return [
        Stage(
            "load_problems",
            "scenarios",
            load_problems,
            ProblemSettings(data=data, sandbox=config.sandbox),
            file="problems.jsonl",
            fingerprint=partial(fingerprint, data),
            code=tuple(f"environment.code.{name}" for name in code),
            sandboxed=True,
        )
    ]


def describe(data: CodeDataConfig, config: CodeConfig) -> dict[str, str]:
    sandbox, limits = config.sandbox, config.sandbox.limits
    bounds = f"each at most {limits.wall_s:g} s and {limits.memory_mib} MiB"
    return {
        "source": data.source,
        "sandbox": f"{sandbox.kind}; {sandbox.workers} programs at once, {bounds}",
    }


PACKAGE = EnvironmentPackage(
    config=CodeConfig,
    data=CodeDataConfig,
    open=open_environment,
    artifacts=("scenarios",),
    stages=stages,
    check=check,
    describe=describe,
    operators=("sandbox",),
)
