"""Sessions of the code environment: they run an agent's programs in the sandbox and report back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.tools import StructuredTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel, Field

from environment.base import Session, StopReason
from environment.code import prompts
from environment.code.grader import grade
from environment.code.models import Attempt, CodeOutcome, CodeProblem, Verdict
from environment.code.sandbox.base import Execution, Sandbox, SandboxError, Status

EXECUTE = "execute_code"
SUBMIT = "submit_solution"
_SHOWN = 1_500


class CodeArguments(BaseModel):
    code: str = Field(description="A whole Python program.")


_SPECS: tuple[tuple[str, str], ...] = (
    (EXECUTE, "Run a program afresh; shows what it printed and raised."),
    (SUBMIT, "Hand in the program that solves the task. This ends the task."),
)


def tool_schemas() -> list[dict[str, Any]]:
    """The tools of style ``tools`` as OpenAI function schemas."""
    return [
        convert_to_openai_tool(
            StructuredTool(name=name, description=text, args_schema=CodeArguments, func=print)
        )
        for name, text in _SPECS
    ]


class CodeSession(Session[CodeOutcome]):
    """Shared by both styles: counts sandbox runs and grades the submission by hidden tests."""

    def __init__(self, problem: CodeProblem, sandbox: Sandbox, tags: Mapping[str, str]) -> None:
        self.user_prompt = prompts.task(problem.text, problem.visible_tests)
        self.tools: Sequence[StructuredTool] = ()
        self.finished = False
        self._problem, self._sandbox = problem, sandbox
        self._tags = {**tags, "problem": problem.id}
        self._outcome = CodeOutcome(StopReason.FINISHED)

    async def _grade(self, program: str, tests: Sequence[str]) -> Attempt:
        try:
            grade_ = await grade(self._sandbox, self._problem, program, tests, self._tags)
        except SandboxError:
            self._outcome.executions += 1
            self._outcome.failures += 1
            raise
        for execution in grade_.executions:
            self._count(execution)
        return grade_.attempt

    def _count(self, execution: Execution) -> None:
        self._outcome.executions += 1
        self._outcome.timeouts += execution.status is Status.TIMEOUT
        self._outcome.sandbox_seconds += execution.seconds - execution.queued_s

    async def _submit(self, program: str) -> None:
        self._outcome.final = await self._grade(program, self._problem.hidden_tests)
        self.finished = True
        self.note("graded", verdict=str(self._outcome.final.verdict))

    def outcome(self, stop: StopReason, turns: int) -> CodeOutcome:
        self._outcome.stop, self._outcome.turns = stop, turns
        return self._outcome

    def tool_failed(self) -> None:
        self._outcome.tool_errors += 1


class RefineSession(CodeSession):
    """The agent rewrites its program until the visible tests pass or its attempts are used up; the
    last program is submitted."""

    takes_text = True

    def __init__(
        self, problem: CodeProblem, sandbox: Sandbox, tags: Mapping[str, str], max_attempts: int
    ) -> None:
        super().__init__(problem, sandbox, tags)
        self._max_attempts = max_attempts

    async def take_text(self, text: str) -> str:
        program = prompts.program_in(text)
        if program is None:
            attempt = Attempt(Verdict.SYNTAX, 0, 0, "there is no program in the reply")
        else:
            attempt = await self._grade(program, self._problem.visible_tests)
        self._outcome.attempts.append(attempt)
        done = len(self._outcome.attempts)
        self.note("attempt", number=done, verdict=str(attempt.verdict), feedback=attempt.feedback)
        if attempt.verdict is Verdict.PASSED or done >= self._max_attempts:
            await self._submit(program or "")
            return ""
        return prompts.try_again(done, self._max_attempts, attempt.feedback)


class ToolsSession(CodeSession):
    """The agent runs code as often as its turns allow, then submits one program."""

    def __init__(self, problem: CodeProblem, sandbox: Sandbox, tags: Mapping[str, str]) -> None:
        super().__init__(problem, sandbox, tags)
        self.tools = [
            StructuredTool(
                name=name, description=text, args_schema=CodeArguments, coroutine=coroutine
            )
            for (name, text), coroutine in zip(
                _SPECS, (self._execute_code, self._submit_solution), strict=True
            )
        ]

    async def _execute_code(self, code: str) -> str:
        try:
            execution = await self._sandbox.run(code, self._tags)
        except SandboxError:
            self._outcome.executions += 1
            self._outcome.failures += 1
            raise
        self._count(execution)
        return describe(execution)

    async def _submit_solution(self, code: str) -> str:
        self._outcome.attempts.append(await self._grade(code, self._problem.visible_tests))
        await self._submit(code)
        return "submitted"


def describe(execution: Execution) -> str:
    """Describe an execution to the agent."""
    end = {
        Status.OK: "",
        Status.FAILED: f"[exit code {execution.exit_code}]"
        if execution.exit_code
        else "[it failed]",
        Status.TIMEOUT: "[ended: it took too long]",
        Status.MEMORY: "[ended: it used too much memory]",
        Status.OUTPUT: "[ended: it printed too much]",
    }[execution.status]
    parts = [_middle_out(text.strip()) for text in (execution.stdout, execution.stderr)]
    return "\n".join(part for part in (*parts, end) if part) or "[it printed nothing]"


def _middle_out(text: str) -> str:
    """Cut the middle: the start of the output and the end of a traceback matter most."""
    if len(text) <= _SHOWN:
        return text
    half = _SHOWN // 2
    return f"{text[:half]}\n[{len(text) - 2 * half} characters cut]\n{text[-half:]}"
