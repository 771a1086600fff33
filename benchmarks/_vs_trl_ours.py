"""Worker of ``benchmarks.vs_trl``: our training loop, as ``run.py --pipeline train`` runs it.

LangGraph rollouts over HTTP against the embedded server, exact packing, LoRA step, checkpoint. Of
the pipeline only ZenML and the files beside the checkpoint (parquet, tracker) are left out.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any

from agent.rollout import Rollout
from backends import PolicyHandle, open_policy
from benchmarks._vs_trl_common import Pipe, StepFigures, Stopwatch, Task, use_cpus
from training.loop.loop import TrainingRun, train_policy
from training.run.run_log import Record, RunLog


class _Meter:
    """Turns what the loop reports of a step into figures, and holds the loop between steps."""

    def __init__(self, pipe: Pipe, policy: PolicyHandle) -> None:
        self._pipe, self._policy = pipe, policy
        self._groups: list[list[Rollout]] = []
        self._before: Record = {}
        self._watch = Stopwatch()

    async def totals(self) -> Record:
        """The sampler's totals; the loop merges them into the step's record."""
        stats = await self._policy.sampler_stats() or {}
        return {f"sampler/{key}": value for key, value in stats.items()}

    def on_groups(self, step: int, groups: list[list[Rollout]]) -> None:
        self._groups = groups

    def begin(self, before: Record | None = None) -> None:
        self._before = self._before if before is None else before
        self._pipe.wait()
        self._watch = Stopwatch()

    def on_step(self, record: Record) -> None:
        figures = StepFigures()
        self._watch.read(figures)
        self._fill(figures, record)
        self._pipe.send(asdict(figures))
        self.begin(record)

    def _fill(self, figures: StepFigures, record: Record) -> None:
        rollouts = [rollout for group in self._groups for rollout in group]
        spent = {k: record[k] - self._before[k] for k in record if k.startswith("sampler/")}
        figures.rollouts = len(rollouts)
        figures.trained_rollouts = record["data/step_trained_trajectories"]
        figures.turns = record["train/turns"]
        figures.sampled_tokens = int(spent["sampler/sampled_tokens"])
        figures.trained_tokens = int(record.get("data/trained_tokens", 0))
        figures.length = _mean_length(rollouts)
        figures.prefilled_tokens = int(spent["sampler/prefilled_tokens"])
        figures.positions = int(record.get("data/padded_tokens", 0))
        figures.success = record["train/success"]
        figures.spent("prefill", spent["sampler/prefill_s"])
        figures.spent("decode", spent["sampler/decode_s"])
        figures.spent("train", record["time/step_trainer_s"])


def _mean_length(rollouts: Sequence[Rollout]) -> float:
    return fmean(r.replies[-1]["usage"]["total_tokens"] for r in rollouts if r.replies)


async def run(task: Task, pipe: Pipe) -> None:
    config, folder = task.parsed_config(), Path(task.folder) / "ours"
    environment = task.environment()
    policy = await open_policy(
        config.backend, project="benchmark", name="ours", path=folder / "art", seed=task.seed
    )
    async with policy:
        meter = _Meter(pipe, policy)
        training: Any = {"max_steps": task.steps, "eval_every": 1, "empty_steps_limit": task.steps}
        loop = TrainingRun(
            policy=policy,
            environment=environment,
            config=config.training.model_copy(update=training),
            rollout=config.rollout,
            seed=task.seed,
            folder=folder,
            run_log=RunLog(folder),
            on_step=meter.on_step,
            on_groups=meter.on_groups,
            evaluate=meter.totals,
        )
        pipe.send({"ready": f"openpipe-art {version('openpipe-art')}, torch {version('torch')}"})
        meter.begin(await meter.totals())
        await train_policy(loop)


def main() -> None:
    pipe = Pipe()
    task = Task.read(Path(sys.argv[1]))
    use_cpus(task.threads)
    asyncio.run(run(task, pipe))


if __name__ == "__main__":
    main()
