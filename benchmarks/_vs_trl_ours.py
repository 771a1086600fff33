"""Worker of ``benchmarks.vs_trl``: our training loop, as ``run.py --pipeline train`` runs it.

LangGraph rollouts over HTTP against the embedded server, exact packing, LoRA step, checkpoint. Of
the pipeline only ZenML and the files beside the checkpoint (parquet, tracker) are left out.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from agent.rollout import Rollout
from backends import PolicyHandle, open_policy
from benchmarks._vs_trl_common import Pipe, StepFigures, Task, use_cpus
from training.loop import TrainingRun, train_policy
from training.run_log import Record, RunLog


class _Meter:
    """Turns what the loop reports of a step into figures, and holds the loop between steps."""

    def __init__(self, pipe: Pipe, policy: PolicyHandle) -> None:
        self._pipe, self._policy = pipe, policy
        self._groups: list[list[Rollout]] = []
        self._before: Record = {}
        self._started = 0.0

    async def totals(self) -> Record:
        """The sampler's totals; the loop merges them into the step's record."""
        stats = await self._policy.sampler_stats() or {}
        return {f"sampler/{key}": value for key, value in stats.items()}

    def on_groups(self, step: int, groups: list[list[Rollout]]) -> None:
        self._groups = groups

    def begin(self, before: Record | None = None) -> None:
        self._before = self._before if before is None else before
        self._pipe.wait()
        self._started = time.perf_counter()

    def on_step(self, record: Record) -> None:
        seconds = time.perf_counter() - self._started
        self._pipe.send(asdict(self._figures(record, seconds)))
        self.begin(record)

    def _figures(self, record: Record, seconds: float) -> StepFigures:
        rollouts = [rollout for group in self._groups for rollout in group]
        since = {k: record[k] - self._before[k] for k in record if k.startswith("sampler/")}
        return StepFigures(
            seconds=seconds,
            rollouts=len(rollouts),
            trained_rollouts=record["data/step_trained_trajectories"],
            turns=record["train/turns"],
            sampled_tokens=int(since["sampler/sampled_tokens"]),
            trained_tokens=int(record.get("data/trained_tokens", 0)),
            length=_mean_length(rollouts),
            prefilled_tokens=int(since["sampler/prefilled_tokens"]),
            positions=int(record.get("data/padded_tokens", 0)),
            success=record["train/success"],
            parts={
                "prefill": since["sampler/prefill_s"],
                "decode": since["sampler/decode_s"],
                "train": record["time/step_trainer_s"],
            },
        )


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
        pipe.send({"ready": "ours"})
        meter.begin(await meter.totals())
        await train_policy(loop)


def main() -> None:
    pipe = Pipe()
    task = Task.read(Path(sys.argv[1]))
    use_cpus(task.threads)
    asyncio.run(run(task, pipe))


if __name__ == "__main__":
    main()
