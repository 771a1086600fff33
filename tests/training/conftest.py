from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from tests import forks
from tests.training.world import RankedEnvironment, run_spec, sample_files, train_run
from training.run.run_log import Record
from training.run.runner import RunOutput

EVALUATED = {"eval_every": 2, "eval_scenarios": 4}


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return sample_files(tmp_path_factory.mktemp("sample"))


@pytest.fixture
def environment(files: dict[str, Path]) -> Iterator[RankedEnvironment]:
    opened = RankedEnvironment(files)
    yield opened
    opened.close()


@dataclass(frozen=True)
class Finished:
    """A run of three steps that nothing disturbed; tests must leave its folder as it is."""

    folder: Path
    output: RunOutput

    @property
    def records(self) -> list[Record]:
        return self.output.result.records


@pytest.fixture(scope="session")
def finished(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Finished:
    forks.warm_up()
    folder = tmp_path_factory.mktemp("finished")
    environment = RankedEnvironment(files)
    output = train_run(run_spec(max_steps=3, **EVALUATED), folder, environment)
    environment.close()
    return Finished(folder, output)


Start = Callable[..., BaseProcess]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a function in a process of its own, which does not outlive the test."""
    started: list[BaseProcess] = []

    def start(target: Callable[..., None], *arguments: object) -> BaseProcess:
        started.append(forks.start(target, *arguments))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.join()
