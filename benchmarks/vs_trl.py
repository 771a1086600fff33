"""One GRPO step of ours beside one of TRL's ``GRPOTrainer``, on the email task, on the CPU.

    python -m benchmarks.vs_trl
    python -m benchmarks.vs_trl --steps 20 --trl-python .venv-trl/bin/python

Three variants take steps in turn, each in a process of its own that sleeps meanwhile, so that a
machine that slows down or warms up does so for all: ours, TRL with its defaults, and TRL tuned (no
gradient checkpointing, 16 rows a backward pass). The first step of each is not counted.

The same for all: base model, scenarios and their order, prompts token for token, tools, answers,
reward, turns, tokens of a reply, temperature 1, LoRA on all linear layers, float32, threads, CPUs
of the process. Sampling is random, so rollouts differ in detail; the table says how long they were.

What differs is how the work is done, and the table shows where it goes:

- TRL runs the whole conversation through the model again on every turn, and the prompt of a group
  once for each of its rollouts; ours keeps key-value caches and prefills equal prompts once.
- TRL samples with the adapter beside the weights, ours with the adapter merged in.
- TRL pads every row of a step to its longest prompt and its longest completion, ours to the longest
  row of a backward pass, rows sorted by length. TRL trains on groups whose rewards are all equal
  too, though their gradient is zero; ours leaves them out (``rollouts trained on``).
- Ours pays for LangGraph, LangChain and HTTP in the rollouts, and writes a checkpoint with the
  optimizer's state, flushed to disk, in every step. TRL's agent loop calls the model directly, and
  saves nothing here.
- The losses differ (CISPO, and TRL's default DAPO); both are one forward and one backward pass.

Everything else is what remains of a step's seconds after its parts. CPU seconds are those of all
threads of a variant's process; on a busy machine look at them. vLLM is left out: TRL's use of it
needs a GPU.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

from benchmarks._vs_trl_common import StepFigures, Task
from benchmarks._vs_trl_workers import (
    OURS,
    ROOT,
    TRL,
    Worker,
    WorkerFailed,
    trl_is_missing,
    workers,
)
from environment.email_search.email_db import build_database
from environment.email_search.sample.corpus import generate, scenarios_of
from environment.jsonl import write_jsonl
from pipelines.config import ConfigError, ProjectConfig, load_config


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--base-model", default="models/pocket", help="folder or hub name")
    parser.add_argument("--steps", type=int, default=5, help="counted steps of each variant")
    parser.add_argument("--threads", type=int, default=2, help="of torch, and CPUs of each variant")
    parser.add_argument("--groups", type=int, default=4, help="scenarios a step")
    parser.add_argument("--rollouts", type=int, default=8, help="rollouts of a scenario")
    parser.add_argument("--rank", type=int, default=16, help="of the LoRA adapter")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--trl-python", default=sys.executable, help="an interpreter that has TRL (default: this)"
    )
    arguments = parser.parse_args()
    if (arguments.groups * arguments.rollouts) % 16:
        parser.error("groups times rollouts must be a multiple of 16, TRL's rows a backward pass")
    return arguments


def benchmark_config(arguments: argparse.Namespace) -> ProjectConfig:
    """The laptop's configuration, with what the command line changes."""
    base = Path(arguments.base_model)
    settings = {
        "backend.base_model": base.resolve() if base.is_dir() else arguments.base_model,
        "backend.device": "cpu",
        "backend.dtype": "float32",
        "backend.threads": arguments.threads,
        "backend.lora.rank": arguments.rank,
        "backend.lora.alpha": 2 * arguments.rank,
        "training.groups_per_step": arguments.groups,
        "training.rollouts_per_group": arguments.rollouts,
    }
    lines = [f"{key}={value}" for key, value in settings.items()]
    return load_config([ROOT / "configs/laptop.yaml"], lines)


def prepare_data(folder: Path, seed: int) -> None:
    """The sample mails' database, and the scenarios over it."""
    inboxes = generate(seed)
    build_database(folder / "mails.db", (mail for inbox in inboxes for mail in inbox.mails))
    write_jsonl(folder / "scenarios.jsonl", scenarios_of(inboxes))


def take_turns(running: Mapping[str, Worker], steps: int) -> dict[str, list[StepFigures]]:
    """``steps`` counted steps of each variant, after one that is not. Every round begins with
    another variant, so that none always follows the same one."""
    taken: dict[str, list[StepFigures]] = {name: [] for name in running}
    names = list(running)
    for round_ in range(steps + 1):
        first = round_ % len(names)
        for name in names[first:] + names[:first]:
            figures = running[name].step()
            print(f"step {round_}: {name} {figures.seconds:.2f} s", file=sys.stderr, flush=True)
            if round_:
                taken[name].append(figures)
    return taken


# What is reported of a step; the names are those of the JSON line.
ROWS: dict[str, Callable[[StepFigures], float]] = {
    "seconds": lambda s: s.seconds,
    "cpu_seconds": lambda s: s.cpu_seconds,
    "trajectories_per_s": lambda s: s.rollouts / s.seconds,
    "sampled_tokens_per_s": lambda s: s.sampled_tokens / s.seconds,
    "trained_tokens_per_s": lambda s: s.trained_tokens / s.seconds,
    "rollouts": lambda s: s.rollouts,
    "rollouts_trained_on": lambda s: s.trained_rollouts,
    "turns_per_rollout": lambda s: s.turns,
    "sampled_tokens_per_rollout": lambda s: s.sampled_tokens / s.rollouts,
    "tokens_per_rollout": lambda s: s.length,
    "solved": lambda s: s.success,
    "prompt_tokens_prefilled": lambda s: s.prefilled_tokens,
    "positions_trained_padded": lambda s: s.positions,
}
COSTS: dict[str, Callable[[StepFigures], float]] = {
    "seconds": lambda s: s.seconds,
    "seconds_per_sampled_token": lambda s: s.seconds / s.sampled_tokens,
    "cpu_seconds": lambda s: s.cpu_seconds,
}


def summary(steps: Sequence[StepFigures]) -> dict[str, float]:
    """Medians over the steps."""
    return {name: median(value(step) for step in steps) for name, value in ROWS.items()}


def parts(steps: Sequence[StepFigures]) -> dict[str, float]:
    """Median seconds of each part of a step, and of everything else."""
    names = list(steps[0].parts)
    seconds = {name: median(step.parts[name] for step in steps) for name in names}
    rest = median(step.seconds - sum(step.parts.values()) for step in steps)
    return seconds | {"everything_else": rest}


def ratios(taken: Mapping[str, Sequence[StepFigures]]) -> dict[str, dict[str, float]]:
    """What a step of TRL costs over what ours does, in three measures: the median over rounds of
    each round's pair, since drift hits both. Per sampled token takes out that rollouts are not
    equally long."""
    result: dict[str, dict[str, float]] = {}
    for name in TRL:
        pairs = list(zip(taken[name], taken[OURS], strict=True))
        result[name] = {
            measure: median(cost(trl) / cost(ours) for trl, ours in pairs)
            for measure, cost in COSTS.items()
        }
    return result


def print_tables(taken: Mapping[str, Sequence[StepFigures]]) -> None:
    summaries = {name: summary(steps) for name, steps in taken.items()}
    print(f"\n{'median over steps':32}" + "".join(f"{name:>14}" for name in taken))
    for row in ROWS:
        cells = "".join(f"{_short(summaries[name][row]):>14}" for name in taken)
        print(f"{row.replace('_', ' '):32}{cells}")
    for name, steps in taken.items():
        seconds = [step.seconds for step in steps]
        split = ", ".join(
            f"{part.replace('_', ' ')} {value:.2f}" for part, value in parts(steps).items()
        )
        print(f"\n{name}: {min(seconds):.2f} to {max(seconds):.2f} s a step; {split}")
    print()
    for name, costs in ratios(taken).items():
        values = ", ".join(
            f"{value:.2f} in {measure.replace('_', ' ')}" for measure, value in costs.items()
        )
        print(f"{name} / {OURS}: {values}")


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"


def as_json(arguments: argparse.Namespace, taken: Mapping[str, Sequence[StepFigures]]) -> str:
    shown = {k: getattr(arguments, k) for k in ("steps", "threads", "groups", "rollouts", "rank")}
    variants = {
        name: {row: round(value, 4) for row, value in summary(steps).items()}
        | {"parts": {part: round(value, 4) for part, value in parts(steps).items()}}
        | {"all_seconds": [round(step.seconds, 4) for step in steps]}
        for name, steps in taken.items()
    }
    rounded = {
        f"{name}_over_{OURS}": {measure: round(value, 3) for measure, value in costs.items()}
        for name, costs in ratios(taken).items()
    }
    return json.dumps({"benchmark": "vs_trl", **shown, "variants": variants, "ratios": rounded})


def main() -> int:
    arguments = parse_arguments()
    if problem := trl_is_missing(arguments.trl_python):
        print(problem, file=sys.stderr)
        return 2
    try:
        config = benchmark_config(arguments)
        with tempfile.TemporaryDirectory(prefix="vs-trl-") as name:
            folder = Path(name)
            prepare_data(folder, arguments.seed)
            task = Task(
                config=config.model_dump(mode="json"),
                folder=name,
                steps=arguments.steps + 1,
                threads=arguments.threads,
                seed=arguments.seed,
            )
            task.write(folder / "task.json")
            with workers(folder, arguments.trl_python, arguments.threads) as running:
                taken = take_turns(running, arguments.steps)
    except (ConfigError, WorkerFailed) as error:
        print(error, file=sys.stderr)
        return 1
    print_tables(taken)
    print(as_json(arguments, taken))
    return 0


if __name__ == "__main__":
    sys.exit(main())
