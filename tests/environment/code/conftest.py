from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from environment.code.models import CodeProblem
from environment.code.sandbox.base import Limits, Sandbox
from environment.code.sandbox.isolated import IsolatedSandbox

LIMITS = Limits(wall_s=3, cpu_s=1, memory_mib=128, output_kib=32)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    opened = IsolatedSandbox(LIMITS, workers=2)
    yield opened
    await opened.close()


def problem(
    *hidden: str, visible: tuple[str, ...] = (), setup: str = "", solution: str = ""
) -> CodeProblem:
    return CodeProblem(
        id="p/1",
        split="train",
        text="Write a function f.",
        visible_tests=visible,
        hidden_tests=hidden or ("assert f(1) == 2", "assert f(5) == 6"),
        setup=setup,
        solution=solution,
    )
