"""A container as the pods of ``kubernetes_cluster`` run it: a process with its own folder, home and
variables, where ``/app`` is that folder.

Not an isolated one: it is kept apart by what it is told, as the program in it is ours.
"""

from __future__ import annotations

import os
import runpy
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

APP = "/app"


def run(folder: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Be ``python -m module ...`` in it."""
    for number in (1, 2):
        os.dup2(os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.environ.clear()
    os.environ.update({name: _real(value, folder) for name, value in environment.items()})
    tempfile.tempdir = None  # asked for before the fork
    os.chdir(folder)
    os.chdir, os.makedirs = _inside(os.chdir, folder), _inside(os.makedirs, folder)
    _, module, *rest = arguments
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def run_forked(folder: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """The same where the imports are done, as in the fork server of the tests."""
    from zenml.client import Client
    from zenml.config.global_config import GlobalConfiguration

    GlobalConfiguration._reset_instance()
    Client._reset_instance()
    run(folder, arguments, environment)


def _inside(call: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    def redirected(path: Any, *arguments: Any, **named: Any) -> Any:
        return call(_real(os.fspath(path), folder), *arguments, **named)

    return redirected


def _real(path: str, folder: Path) -> str:
    """Where a path of the container lies on this machine's disk."""
    inside = path == APP or path.startswith(f"{APP}/")
    return f"{folder}{path.removeprefix(APP)}" if inside else path


if __name__ == "__main__":
    # What the folder of this file holds is no part of the image.
    sys.path[0] = str(Path.cwd())
    run(Path.cwd(), sys.argv[1:], dict(os.environ))
