"""What one GRPO step of the laptop task costs, and where its time goes.

    python -m benchmarks.rl_step [--steps 12] [--threads 2]

Runs the real training loop (LangGraph, HTTP, embedded backend) with the settings of
configs/laptop.yaml and prints the median over the steps but the first two. Model compute is what
the sampler spends on prefill and decoding and the trainer on forward, backward and the optimizer;
everything else (the agent graph, HTTP, tools, packing, checkpoints, logs) is overhead.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from backends import open_policy
from environment.email_search import EmailSearchEnvironment
from environment.email_search.email_db import EmailDatabase, build_database
from environment.email_search.sample.corpus import generate, scenarios_of
from pipelines.config import ProjectConfig, load_config
from training.loop.loop import TrainingRun, train_policy
from training.run.run_log import Record, RunLog

_WARM_UP = 2


def sample_environment(config: ProjectConfig, folder: Path) -> EmailSearchEnvironment:
    """The sample mails of seed 0 as the laptop profile sees them."""
    inboxes = generate(0)
    build_database(folder / "mails.db", (mail for box in inboxes for mail in box.mails))
    return EmailSearchEnvironment(
        EmailDatabase(folder / "mails.db"),
        scenarios_of(inboxes),
        config.environment,
        config.rollout.max_turns,
    )


async def measure(config: ProjectConfig, folder: Path, steps: int) -> list[dict[str, float]]:
    """Seconds and counts of each step after the warm-up."""
    environment = sample_environment(config, folder)
    samples: list[dict[str, float]] = []
    policy = await open_policy(
        config.backend, project="benchmark", name="rl-step", path=folder / "art"
    )
    async with policy:
        totals: dict[str, float] = {}

        async def sampler_seconds() -> Record:
            # Read at the end of each step, when nothing is being sampled.
            now: dict[str, Any] = await policy.sampler_stats() or {}
            spent = {key: now[key] - totals.get(key, 0) for key in now}
            totals.update(now)
            return {f"sampler/{key}": value for key, value in spent.items()}

        def on_step(record: Record) -> None:
            samples.append({k: v for k, v in record.items() if isinstance(v, (int, float))})

        await train_policy(
            TrainingRun(
                policy=policy,
                environment=environment,
                config=config.training.model_copy(
                    update={"max_steps": steps + _WARM_UP, "eval_every": 1}
                ),
                rollout=config.rollout,
                seed=0,
                folder=folder,
                run_log=RunLog(folder),
                on_step=on_step,
                evaluate=sampler_seconds,
            )
        )
    environment.close()
    return [row for row in samples[_WARM_UP:] if "time/trainer_compute_s" in row]


def summarise(rows: list[dict[str, float]]) -> dict[str, float]:
    """Medians over the steps."""

    def middle(value: Any) -> float:
        return median(value(row) for row in rows)

    def compute(row: dict[str, float]) -> float:
        sampling = row["sampler/prefill_s"] + row["sampler/decode_s"]
        return sampling + row["time/trainer_compute_s"]

    wall = "time/step_wall_s"
    return {
        "step_s": middle(lambda r: r[wall]),
        "prefill_s": middle(lambda r: r["sampler/prefill_s"]),
        "decode_s": middle(lambda r: r["sampler/decode_s"]),
        "train_s": middle(lambda r: r["time/trainer_compute_s"]),
        "overhead_s": middle(lambda r: r[wall] - compute(r)),
        "overhead_share": middle(lambda r: 1 - compute(r) / r[wall]),
        "rollouts_per_s": middle(lambda r: r["data/step_num_trajectories"] / r[wall]),
        "sampled_tokens_per_s": middle(lambda r: r["sampler/sampled_tokens"] / r[wall]),
        "trained_tokens_per_s": middle(
            lambda r: r["data/trained_tokens"] / r["time/trainer_compute_s"]
        ),
        "turns_per_rollout": middle(lambda r: r["train/turns"]),
        "probs_corr_min": min(r["loss/probs_corr"] for r in rows),
        "steps": float(len(rows)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--base-model", default="models/pocket")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    settings = [
        f"backend.threads={arguments.threads}",
        f"backend.base_model={arguments.base_model}",
        *arguments.set,
    ]
    config = load_config([Path("configs/laptop.yaml")], settings)
    with tempfile.TemporaryDirectory() as folder:
        rows = asyncio.run(measure(config, Path(folder), arguments.steps))
    result = summarise(rows)
    for name, value in result.items():
        print(f"{name:<22} {value:10.3f}")
    print(json.dumps({name: round(value, 4) for name, value in result.items()}))


if __name__ == "__main__":
    main()
