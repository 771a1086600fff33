"""Run programs that we wrote ourselves, in this process. Never a model's: those go to a sandbox."""

from __future__ import annotations

from typing import Any

# What the wrong programs among them raise; anything else is a fault of ours.
FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    SyntaxError,
    TypeError,
    ValueError,
)


def value_of(program: str, call: str) -> Any:
    """What ``call`` gives after ``program``; whatever they raise is raised."""
    return eval(call, _names_of(program))  # noqa: S307


def holds(program: str, test: str) -> bool:
    """Whether an ``assert`` holds after ``program``; one that raises does not."""
    try:
        exec(compile(test, "<test>", "exec"), _names_of(program))  # noqa: S102
    except FAULTS:
        return False
    return True


def _names_of(program: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {}
    exec(compile(program, "<program>", "exec"), namespace)  # noqa: S102
    return namespace
