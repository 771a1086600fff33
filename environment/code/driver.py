"""Runs inside the sandbox: loads a program, evaluates calls to it and reports their values.

The grader sends this file's source followed by a call to ``main``, so it needs only the standard
library of Python 3.9 or later. It is untrusted: the program shares the interpreter and can forge
any report, but the expected values are not here to be copied.
"""

import collections
import itertools
import json
import os
import sys
import types
from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from typing import Any

_DEPTH = 50
_ITEMS = 100_000
_SCALARS: tuple[tuple[Any, str, Any], ...] = (
    (int, "int", lambda value: format(value, "x")),  # without Python's limit on digits
    (float, "float", repr),
    (complex, "complex", repr),
    ((bytes, bytearray), "bytes", lambda value: bytes(value).hex()),
)
# Never equal to a list, but a test may convert them.
_ITERABLES = (Iterator, KeysView, ItemsView, ValuesView, collections.deque, range)
_TEXT = 300


def encode(value: object, depth: int = 0) -> object:
    """A plain value as JSON with type tags; any other value as its type's name."""
    if depth > _DEPTH:
        return {"t": "other", "v": "a value nested too deep"}
    if value is None or isinstance(value, (bool, str)):
        return value
    for kind, name, write in _SCALARS:
        if isinstance(value, kind):
            return {"t": name, "v": write(value)}
    if isinstance(value, dict):
        pairs = [[encode(k, depth + 1), encode(v, depth + 1)] for k, v in value.items()]
        return {"t": "dict", "v": pairs}
    for collection in (list, tuple, set, frozenset):
        if isinstance(value, collection):
            return {"t": collection.__name__, "v": [encode(v, depth + 1) for v in value]}
    if isinstance(value, _ITERABLES):
        items = list(itertools.islice(value, _ITEMS + 1))
        if len(items) > _ITEMS:
            return {"t": "other", "v": f"a {type(value).__name__} without end"}
        return {"t": "iterator", "v": [encode(v, depth + 1) for v in items]}
    return {"t": "other", "v": f"a {type(value).__name__}"}


def failure(error: BaseException) -> dict[str, object]:
    """An exception as a report; even its ``str`` may raise."""
    try:
        text = str(error)[:_TEXT]
    except BaseException:  # noqa: BLE001 (the program's class, whatever it does)
        text = ""
    report: dict[str, object] = {"e": type(error).__name__[:_TEXT], "m": text}
    if isinstance(error, SyntaxError):
        report["m"] = f"{str(error.msg)[:_TEXT]} (line {error.lineno})"
    if isinstance(error, MemoryError):
        report["memory"] = True
    return report


def main(payload: str) -> None:
    """
    Args:
        payload: JSON with ``mark`` (the prefix of each report), ``setup``, ``program`` and
            ``calls`` (expressions).
    """
    task = json.loads(payload)
    write, dumps, mark = os.write, json.dumps, "\n" + task["mark"]

    def report(what: object) -> None:
        text = (mark + dumps(what) + "\n").encode("utf-8", "backslashreplace")
        while text:
            text = text[write(1, text) :]

    # Dataclasses with quoted annotations look their module up in sys.modules.
    module = sys.modules["solution"] = types.ModuleType("solution")
    names = module.__dict__
    try:
        try:
            exec(compile(task["setup"], "setup.py", "exec"), names)  # noqa: S102
            later = ""
        except NameError:  # the setup uses the program's classes
            later = task["setup"]
        exec(compile(task["program"], "program.py", "exec"), names)  # noqa: S102
        exec(compile(later, "setup.py", "exec"), names)  # noqa: S102
    except BaseException as error:  # noqa: BLE001 (SystemExit too is a result)
        report({"load": failure(error), "syntax": isinstance(error, SyntaxError)})
        return
    report({"loaded": True})
    for call in task["calls"]:
        try:
            result = {"v": encode(eval(call, names))}  # noqa: S307
        except BaseException as error:  # noqa: BLE001
            result = failure(error)
        report(result)
