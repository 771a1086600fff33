"""Processes that have the imports done, because those take longer than what most tests run.

    process = start(function, argument, ...)

All are forked from one server, which imports what ``PRELOADED`` names and does nothing else.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess

PRELOADED = ["tests.training.victims", "backends.embedded.backend"]


def warm_up() -> None:
    """Let the server begin with its imports, if it has not."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOADED)
    forkserver.ensure_running()


def start(target: Callable[..., None], *arguments: object) -> BaseProcess:
    warm_up()
    process = multiprocessing.get_context("forkserver").Process(target=target, args=arguments)
    process.start()
    return process
