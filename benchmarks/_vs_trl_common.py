"""What ``benchmarks.vs_trl`` and its workers share: the task, the figures, the pipe between them.

Every variant runs in a process of its own, so that none sees the other's patches of transformers,
its threads or its memory. A worker waits for a line on its standard input, takes one step, and
writes the step's figures as a line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from environment.email_search import EmailSearchEnvironment, open_environment
from environment.email_search.models import EmailScenario
from pipelines.config import ProjectConfig, parse_config
from training.loop.schedule import scenarios_of_step


@dataclass(frozen=True, slots=True)
class Task:
    """What every variant works on, the same for all.

    Args:
        folder: holds ``mails.db`` and ``scenarios.jsonl``, and what the workers write.
        steps: all steps, the warm-up included.
        threads: of torch, and the number of CPUs a worker may use.
    """

    config: dict[str, Any]
    folder: str
    steps: int
    threads: int
    seed: int

    @classmethod
    def read(cls, file: Path) -> Task:
        return cls(**json.loads(file.read_text()))

    def write(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self)))

    def parsed_config(self) -> ProjectConfig:
        return parse_config(self.config)

    def environment(self) -> EmailSearchEnvironment:
        config = self.parsed_config()
        folder = Path(self.folder)
        artifacts = {"database": folder / "mails.db", "scenarios": folder / "scenarios.jsonl"}
        return open_environment(artifacts, config.environment, config.rollout.max_turns)

    def scenarios(self, environment: EmailSearchEnvironment) -> list[EmailScenario]:
        """One per group, over all steps: the order in which the training loop takes them."""
        training = self.parsed_config().training
        pool = environment.scenarios("train", training.train_scenarios, self.seed)
        return [
            scenario
            for step in range(self.steps)
            for scenario in scenarios_of_step(pool, step, training.groups_per_step, self.seed)
        ]


@dataclass(slots=True)
class StepFigures:
    """One optimizer step.

    Args:
        seconds: wall clock, from the first rollout to the updated weights.
        cpu_seconds: processor time of all threads; steadier than ``seconds`` on a busy machine.
        rollouts: trajectories sampled.
        trained_rollouts: trajectories that went through the trainer.
        turns: model replies, mean over rollouts.
        sampled_tokens: tokens the policy wrote, over all rollouts.
        trained_tokens: those of them that were trained on.
        length: tokens of a whole conversation, mean over rollouts.
        prefilled_tokens: prompt tokens run through the model before sampling, without padding.
        positions: token positions of the trainer's forward passes, padding included.
        success: share of rollouts that solved their task.
        parts: seconds of the step's parts; what they leave is everything else.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    rollouts: int = 0
    trained_rollouts: int = 0
    turns: float = 0.0
    sampled_tokens: int = 0
    trained_tokens: int = 0
    length: float = 0.0
    prefilled_tokens: int = 0
    positions: int = 0
    success: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)

    def spent(self, part: str, seconds: float) -> None:
        self.parts[part] = self.parts.get(part, 0.0) + seconds


class Stopwatch:
    """Wall-clock and processor time since it was started."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self, figures: StepFigures) -> None:
        figures.seconds = time.perf_counter() - self._wall
        figures.cpu_seconds = time.process_time() - self._cpu


class Pipe:
    """The worker's end. Whatever else is printed in the process goes to standard error."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def send(self, message: dict[str, Any]) -> None:
        self._out.write(json.dumps(message) + "\n")
        self._out.flush()

    def wait(self) -> None:
        """Until the next step is asked for.

        Raises:
            SystemExit: none will be.
        """
        if not sys.stdin.readline():
            raise SystemExit(0)


def use_cpus(count: int) -> None:
    """Keep this process on so many CPUs: a server or client thread beside torch's must not get a
    core that the other variants do not have."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])
