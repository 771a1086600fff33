from __future__ import annotations

import asyncio
import os
import signal
import threading
from pathlib import Path

import pytest

from tests.training import victims
from tests.training.conftest import Start
from training.run.signals import stop_on_signals

BOTH = (signal.SIGTERM, signal.SIGINT)


@pytest.mark.parametrize("number", BOTH)
def test_the_first_signal_is_a_request(number: signal.Signals) -> None:
    async def block() -> bool:
        with stop_on_signals() as requested:
            assert not requested.is_set()
            os.kill(os.getpid(), number)
            await asyncio.wait_for(requested.wait(), 5)
            return requested.is_set()

    assert asyncio.run(block())


@pytest.mark.parametrize("number", BOTH)
def test_a_second_signal_ends_the_process(
    number: signal.Signals, tmp_path: Path, start: Start
) -> None:
    process = start(victims.signal_yourself_twice, number, tmp_path / "reached")
    process.join(30)
    assert (tmp_path / "reached").exists()
    assert process.exitcode == (-signal.SIGTERM if number == signal.SIGTERM else 1)


@pytest.mark.parametrize("signalled", [True, False])
def test_afterwards_the_handlers_are_those_of_before(signalled: bool) -> None:
    async def block() -> None:
        before = [signal.getsignal(number) for number in BOTH]
        with stop_on_signals() as requested:
            assert [signal.getsignal(number) for number in BOTH] != before
            if signalled:
                os.kill(os.getpid(), signal.SIGTERM)
                await requested.wait()
        assert [signal.getsignal(number) for number in BOTH] == before

    asyncio.run(block())


def test_outside_the_main_thread_nothing_is_handled() -> None:
    before = [signal.getsignal(number) for number in BOTH]
    seen: list[bool] = []

    async def block() -> None:
        with stop_on_signals() as requested:
            seen.append(requested.is_set())
            assert [signal.getsignal(number) for number in BOTH] == before

    thread = threading.Thread(target=lambda: asyncio.run(block()))
    thread.start()
    thread.join()
    assert seen == [False]
