"""Runs our own programs in this process. Never use it for a model's: those go to a sandbox."""

from __future__ import annotations

from typing import Any

# Raised by wrong programs; anything else is a bug.
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
    """Evaluate ``call`` after running ``program``; exceptions propagate."""
    return eval(call, _names_of(program))  # noqa: S307


def holds(program: str, test: str) -> bool:
    """Whether an ``assert`` holds after running ``program``; False if anything raises."""
    try:
        exec(compile(test, "<test>", "exec"), _names_of(program))  # noqa: S102
    except FAULTS:
        return False
    return True


def _names_of(program: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {}
    exec(compile(program, "<program>", "exec"), namespace)  # noqa: S102
    return namespace
