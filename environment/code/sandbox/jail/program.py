"""Runs a program in a running interpreter as if it were freshly started."""

from __future__ import annotations

import atexit
import builtins
import linecache
import os
import sys
import threading
import traceback
import types
from typing import NoReturn

NAME = "program.py"


def run(source: bytes) -> NoReturn:
    """Run a program as ``__main__`` and exit as Python would."""
    code = 1
    try:
        code = _finish(_execute(source))
    finally:
        os._exit(code)


def _execute(source: bytes) -> int:
    module = types.ModuleType("__main__")
    module.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = module
    sys.argv = [NAME]
    lines = source.decode("utf-8", errors="replace").splitlines(keepends=True)
    linecache.cache[NAME] = (len(source), None, lines, NAME)
    try:
        # Do not inherit this file's __future__ imports.
        code = compile(source, NAME, "exec", dont_inherit=True)
        exec(code, module.__dict__)  # noqa: S102 - what a cell is for
    except SystemExit as stop:
        return _code_of(stop)
    except MemoryError as error:
        # The module may still hold what filled the memory.
        module.__dict__.clear()
        _report(error)
        return 1
    except BaseException as error:  # noqa: BLE001 - whatever a program raises is its result
        _report(error)
        return 1
    return 0


def _report(error: BaseException) -> None:
    here = error.__traceback__
    traceback.print_exception(type(error), error, here.tb_next if here else None)


def _code_of(stop: SystemExit) -> int:
    if stop.code is None:
        return 0
    if isinstance(stop.code, int):
        return stop.code & 0xFF
    sys.stderr.write(f"{stop.code}\n")
    return 1


def _finish(code: int) -> int:
    """Do what Python does between the end of a program and process exit."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        return code or 120  # Python's own exit code for a failed flush
    return code
