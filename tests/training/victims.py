"""What runs in processes that get killed: started from ``training.conftest.start``."""

from __future__ import annotations

import asyncio
import os
import resource
from pathlib import Path
from typing import Any

from tests.training.world import RankedEnvironment, run_spec, train_run
from training.run.signals import stop_on_signals
from training.run.store import claim


def train(folder: Path, files: dict[str, Path], max_steps: int) -> None:
    train_run(run_spec(max_steps), folder, RankedEnvironment(files))


def signal_yourself_twice(number: int, reached: Path) -> None:
    async def twice() -> None:
        with stop_on_signals() as requested:
            os.kill(os.getpid(), number)
            await requested.wait()
            reached.touch()
            os.kill(os.getpid(), number)
            await asyncio.sleep(60)

    asyncio.run(twice())


def claim_on_a_full_disk(folder: Path, settings: dict[str, Any]) -> None:
    """The write ends in its middle, as it would by a kill."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))
    claim(folder, settings)


def train_tracked(folder: Path, files: dict[str, Path], max_steps: int) -> None:
    os.environ["WANDB_MODE"] = "offline"
    train(folder, files, max_steps)
