"""Turn SIGTERM and SIGINT into a request to stop."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


class Interrupted(Exception):
    """The run was stopped by a signal and can be continued."""


@contextmanager
def stop_on_signals() -> Iterator[asyncio.Event]:
    """An event that the first signal sets; the second one ends the process as usual. Outside the main
    thread, where signals cannot be handled, it is never set."""
    requested = asyncio.Event()
    if threading.current_thread() is not threading.main_thread():
        yield requested
        return
    loop = asyncio.get_running_loop()
    previous = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)}

    def restore() -> None:
        for number, handler in previous.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)

    def on_signal() -> None:
        requested.set()
        restore()

    for number in previous:
        loop.add_signal_handler(number, on_signal)
    try:
        yield requested
    finally:
        restore()


async def unless(stop: asyncio.Event, work: Coroutine[Any, Any, T], message: str) -> T:
    """The result of ``work``; if ``stop`` is set first, cancels it and raises ``Interrupted``."""
    task, waiting = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Interrupted(message)
        return await task
    finally:
        for pending in (task, waiting):
            pending.cancel()
        await asyncio.wait({task, waiting})
