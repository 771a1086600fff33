"""Runs a program against tests without exposing the expected values.

The sandbox evaluates the tests' calls and reports their values. The rest of a test is decided here
if it compares a value with a constant, otherwise by a second, independent program in the sandbox.
So printing a success marker, exiting early, patching builtins or returning an object equal to
everything gains a program nothing: it has to return the right value.
"""

from __future__ import annotations

import ast
import inspect
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from environment.base import is_utf8
from environment.code import driver, values
from environment.code.assertions import Assertion, imports_of, take_apart
from environment.code.models import Attempt, CodeProblem, Verdict
from environment.code.sandbox.base import Execution, Sandbox, Status
from environment.code.values import NotPlain, decode

_SHOWN = 120
_MARK_BYTES = 12


@dataclass(frozen=True, slots=True)
class Grade:
    """An attempt and its sandbox executions."""

    attempt: Attempt
    executions: tuple[Execution, ...]


@dataclass(frozen=True, slots=True)
class _Failure:
    verdict: Verdict
    feedback: str


async def grade(
    sandbox: Sandbox,
    problem: CodeProblem,
    program: str,
    tests: Sequence[str],
    tags: Mapping[str, str],
) -> Grade:
    """
    Raises:
        SandboxError: the sandbox failed, which says nothing about the program.
    """
    if "\0" in program or not is_utf8(program):
        attempt = Attempt(Verdict.SYNTAX, 0, len(tests), "SyntaxError: it is no text (line 1)")
        return Grade(attempt, ())
    assertions = [_take_apart(test, problem.setup, problem.solution) for test in tests]
    calls = [call for assertion in assertions for call in assertion.calls]
    mark = secrets.token_hex(_MARK_BYTES)
    task = {"mark": mark, "setup": problem.setup, "program": program, "calls": calls}
    ran = await sandbox.run(_driven(task), tags)
    reports = _reports(ran.stdout, mark)
    if not reports or "loaded" not in reports[0]:
        failed = _not_loaded(reports, ran)
        attempt = Attempt(failed.verdict, 0, len(tests), failed.feedback, ran.seconds)
        return Grade(attempt, (ran,))
    values = _Values(reports[1:], ran)
    failures, undecided = _decide(assertions, values)
    executions = [ran]
    if undecided:
        rest = [(assertions[i].rest, values.raw(*_span(assertions, i))) for i in undecided]
        setup = f"{imports_of(problem.solution)}\n{problem.setup}"
        decided, second = await _evaluate_rest(sandbox, setup, rest, tags)
        executions.append(second)
        for index, holds in zip(undecided, decided, strict=True):
            if not holds:
                text = f"assert {_cut(assertions[index].test)} does not hold"
                failures[index] = _Failure(Verdict.WRONG_ANSWER, text)
    first = failures[min(failures)] if failures else _Failure(Verdict.PASSED, "")
    passed = len(tests) - len(failures)
    seconds = sum(execution.seconds for execution in executions)
    attempt = Attempt(first.verdict, passed, len(tests), first.feedback, seconds)
    return Grade(attempt, tuple(executions))


_take_apart = cache(take_apart)
_source = cache(inspect.getsource)


def _driven(task: Mapping[str, Any]) -> str:
    return f"{_source(driver)}\n\nmain({json.dumps(task)!r})\n"


def _reports(stdout: str, mark: str) -> list[dict[str, Any]]:
    """The driver's reports, up to the first truncated line."""
    reports: list[dict[str, Any]] = []
    for line in stdout.split("\n"):
        if line.startswith(mark):
            try:
                report = json.loads(line.removeprefix(mark))
            except (ValueError, RecursionError):
                break
            if not isinstance(report, dict):
                break
            reports.append(report)
    return reports


def _not_loaded(reports: Sequence[Mapping[str, Any]], ran: Execution) -> _Failure:
    if reports and isinstance(reports[0].get("load"), dict):
        error = reports[0]["load"]
        if reports[0].get("syntax"):
            return _Failure(Verdict.SYNTAX, _exception(error))
        verdict = Verdict.MEMORY if error.get("memory") else Verdict.EXCEPTION
        return _Failure(verdict, f"the program raised {_exception(error)}")
    return _ended(ran, "the program")


def _exception(error: Mapping[str, Any]) -> str:
    name, text = _cut(str(error.get("e"))), _cut(str(error.get("m")))
    return f"{name}: {text}" if text else name


def _ended(ran: Execution, what: str) -> _Failure:
    """Why there is no report for a call or for the program."""
    if ran.status is Status.TIMEOUT:
        return _Failure(Verdict.TIMEOUT, f"{what} took too long")
    if ran.status is Status.MEMORY:
        return _Failure(Verdict.MEMORY, f"{what} used too much memory")
    if ran.status is Status.OUTPUT:
        return _Failure(Verdict.OUTPUT, f"{what} printed or returned too much")
    return _Failure(Verdict.EXCEPTION, f"{what} ended the process")


class _Values:
    """The reports of the calls, in order; calls without one were never reached."""

    def __init__(self, reports: Sequence[Mapping[str, Any]], ran: Execution) -> None:
        self._reports, self._ran = reports, ran

    def raw(self, first: int, last: int) -> list[Any]:
        return [report["v"] for report in self._reports[first:last]]

    def get(self, index: int, call: str) -> Any:
        """The value of a call, or a ``_Failure``."""
        call = _cut(call)
        if index >= len(self._reports):
            return _ended(self._ran, call)
        report = self._reports[index]
        if "v" not in report:
            verdict = Verdict.MEMORY if report.get("memory") else Verdict.EXCEPTION
            return _Failure(verdict, f"{call} raised {_exception(report)}")
        try:
            return decode(report["v"])
        except NotPlain as error:
            return _Failure(Verdict.WRONG_ANSWER, f"{call} is {_cut(str(error))}")


def _span(assertions: Sequence[Assertion], index: int) -> tuple[int, int]:
    first = sum(len(assertion.calls) for assertion in assertions[:index])
    return first, first + len(assertions[index].calls)


def _decide(
    assertions: Sequence[Assertion], values: _Values
) -> tuple[dict[int, _Failure], list[int]]:
    """Failures by test, and the tests that need more than a comparison with a constant."""
    failures: dict[int, _Failure] = {}
    undecided: list[int] = []
    for index, assertion in enumerate(assertions):
        first, _ = _span(assertions, index)
        results = [values.get(first + i, call) for i, call in enumerate(assertion.calls)]
        failed = next((value for value in results if isinstance(value, _Failure)), None)
        if failed:
            failures[index] = failed
            continue
        is_constant, expected = _constant(assertion)
        if not is_constant:
            undecided.append(index)
        elif results[0] != expected:
            text = f"{_cut(assertion.calls[0])} is {_shown(results[0])}, not {_shown(expected)}"
            failures[index] = _Failure(Verdict.WRONG_ANSWER, text)
    return failures, undecided


def _constant(assertion: Assertion) -> tuple[bool, Any]:
    """Whether a test compares one call with a constant, and the constant."""
    expected = assertion.expected
    if expected is None or len(assertion.calls) != 1:
        return False, None
    try:
        return True, ast.literal_eval(expected)
    except (ValueError, TypeError):  # not a literal, or an invalid one
        return False, None


async def _evaluate_rest(
    sandbox: Sandbox, setup: str, rest: Sequence[tuple[str, list[Any]]], tags: Mapping[str, str]
) -> tuple[list[bool], Execution]:
    """Evaluate the rest of each test on the reported values, in a fresh sandbox."""
    mark = secrets.token_hex(_MARK_BYTES)
    # A separate module, to avoid name clashes with the setup.
    program = (
        "import json as _json, types as _types\n_values = _types.ModuleType('values')\n"
        f"exec({_source(values)!r}, _values.__dict__)\n"
    )
    calls = []
    for index, (text, raws) in enumerate(rest):
        names = ", ".join(f"_{k}" for k in range(len(raws)))
        program += f"def _test{index}({names}): return bool({text})\n"
        calls.append(f"_test{index}(*map(_values.decode, _json.loads({json.dumps(raws)!r})))")
    task = {"mark": mark, "setup": setup, "program": program, "calls": calls}
    ran = await sandbox.run(_driven(task), tags)
    reports = _reports(ran.stdout, mark)[1:]
    holds = [report.get("v") is True for report in reports[: len(rest)]]
    return holds + [False] * (len(rest) - len(holds)), ran


def _shown(value: Any) -> str:
    if isinstance(value, Iterator):
        return "an iterator"
    try:
        return _cut(repr(value))
    except ValueError:  # exceeds Python's int-to-str digit limit
        return "too large a number to show"


def _cut(text: str) -> str:
    # Lone surrogates can neither be sent to a model nor written to a file.
    text = " ".join(text.encode(errors="backslashreplace").decode().split())
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
