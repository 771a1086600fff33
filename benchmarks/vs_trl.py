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
- TRL pads every row of a step to the longest prompt and the longest completion; ours groups rows of
  similar length. TRL trains on groups whose rewards are all equal too, though their gradient is
  zero; ours leaves them out (``rollouts trained on``).
- Ours pays for LangGraph, LangChain and HTTP in the rollouts, and writes a checkpoint with the
  optimizer's state, flushed to disk, in every step. TRL's agent loop calls the model directly, and
  saves nothing here.
- The losses differ (CISPO, and TRL's default DAPO); both are one forward and one backward pass.

vLLM is left out: TRL's use of it needs a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks._vs_trl_common import StepFigures, Task
from environment.email_search import prepare
from environment.email_search.prepare import ScenarioConfig, SourceConfig
from pipelines.config import ConfigError, ProjectConfig, load_config

ROOT = Path(__file__).resolve().parents[1]
OURS, TRL = "ours", ("trl_defaults", "trl_tuned")
VARIANTS = (OURS, *TRL)
_QUIET = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    # Threads that wait for work must not spin on the CPUs of the variant whose turn it is.
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
    "TRL_EXPERIMENTAL_SILENCE": "1",
    "WANDB_MODE": "disabled",
}


class WorkerFailed(RuntimeError):
    """A worker ended before its time; the text ends with its last lines of output."""


class Worker:
    """A variant in a process of its own."""

    def __init__(self, name: str, command: Sequence[str], threads: int, log: Path) -> None:
        self.name, self._log = name, log
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=_QUIET | os.environ | {"OMP_NUM_THREADS": str(threads)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def receive(self) -> dict[str, Any]:
        """
        Raises:
            WorkerFailed: it has ended.
        """
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])
            raise WorkerFailed(f"{self.name} ended early:\n{tail}")
        return json.loads(line)

    def step(self) -> StepFigures:
        """
        Raises:
            WorkerFailed: it has ended.
        """
        assert self._process.stdin
        try:
            self._process.stdin.write("step\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # what it said is told by receive
        return StepFigures(**self.receive())

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


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


def trl_is_missing(python: str) -> str | None:
    """What to do, if this interpreter has no TRL."""
    wanted = (ROOT / "benchmarks/requirements-trl.txt").read_text().split("trl==")[1].split()[0]
    probe = "import importlib.metadata as m; print(m.version('trl'))"
    try:
        found = subprocess.run([python, "-c", probe], capture_output=True, text=True, check=False)
    except OSError as error:
        return f"--trl-python {python}: {error.strerror}"
    if found.returncode:
        return (
            f"TRL is not installed for {python}. Either add it to this environment, whose versions "
            "it accepts:\n    pip install -r benchmarks/requirements-trl.txt\n"
            "or make one of its own and name it:\n    python -m venv .venv-trl\n"
            "    .venv-trl/bin/pip install -r requirements.txt -r benchmarks/requirements-trl.txt\n"
            "    python -m benchmarks.vs_trl --trl-python .venv-trl/bin/python"
        )
    if found.stdout.strip() != wanted:
        return (
            f"{python} has TRL {found.stdout.strip()}; this benchmark is written against {wanted} "
            "(it puts clocks into the trainer): pip install -r benchmarks/requirements-trl.txt"
        )
    return None


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


def prepare_data(config: ProjectConfig, folder: Path) -> None:
    """The sample mails, their database and their scenarios, as the data pipeline makes them."""
    data = config.data
    prepare.fetch_mails(SourceConfig.of(data), folder)
    prepare.build(folder, folder / "mails.db", data.max_body_chars, data.max_recipients)
    prepare.make_scenarios(ScenarioConfig.of(data), folder / "mails.db", folder / "scenarios.jsonl")


@contextmanager
def workers(folder: Path, trl_python: str, threads: int) -> Iterator[dict[str, Worker]]:
    """The three variants, loaded and waiting.

    Raises:
        WorkerFailed: one could not be loaded.
    """
    task = str(folder / "task.json")
    commands = {OURS: [sys.executable, "-m", "benchmarks._vs_trl_ours", task]}
    for name in TRL:
        commands[name] = [trl_python, "-m", "benchmarks._vs_trl_trl", task, name]
    with ExitStack() as stack:
        running = {}
        for name, command in commands.items():
            running[name] = Worker(name, command, threads, folder / f"{name}.log")
            stack.callback(running[name].stop)
            print(f"{name}: {running[name].receive()['ready']}", flush=True)
        yield running


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


# Rows of the table, by the figures of a step.
ROWS: dict[str, Callable[[StepFigures], float]] = {
    "seconds a step": lambda s: s.seconds,
    "trajectories / s": lambda s: s.rollouts / s.seconds,
    "sampled tokens / s": lambda s: s.sampled_tokens / s.seconds,
    "trained tokens / s": lambda s: s.trained_tokens / s.seconds,
    "rollouts": lambda s: s.rollouts,
    "rollouts trained on": lambda s: s.trained_rollouts,
    "turns a rollout": lambda s: s.turns,
    "sampled tokens a rollout": lambda s: s.sampled_tokens / s.rollouts,
    "tokens a rollout": lambda s: s.length,
    "solved": lambda s: s.success,
    "tokens prefilled": lambda s: s.prefilled_tokens,
    "positions trained, with padding": lambda s: s.positions,
}


def summary(steps: Sequence[StepFigures]) -> dict[str, float]:
    """Medians over the steps."""
    return {name: median(value(step) for step in steps) for name, value in ROWS.items()}


def parts(steps: Sequence[StepFigures]) -> dict[str, float]:
    """Median seconds of each part of a step, and of everything else."""
    names = list(steps[0].parts)
    seconds = {name: median(step.parts[name] for step in steps) for name in names}
    rest = median(step.seconds - sum(step.parts.values()) for step in steps)
    return seconds | {"everything else": rest}


def ratios(taken: Mapping[str, Sequence[StepFigures]]) -> dict[str, float]:
    """Seconds of TRL's step over ours, median over rounds: of each round's pair, since drift hits
    both; and the same per sampled token, which takes out that rollouts are not equally long."""
    result: dict[str, float] = {}
    for name in TRL:
        pairs = list(zip(taken[name], taken[OURS], strict=True))
        result[f"{name} / ours"] = median(trl.seconds / ours.seconds for trl, ours in pairs)
        result[f"{name} / ours, per sampled token"] = median(
            (trl.seconds / trl.sampled_tokens) / (ours.seconds / ours.sampled_tokens)
            for trl, ours in pairs
        )
    return result


def print_tables(taken: Mapping[str, Sequence[StepFigures]]) -> None:
    summaries = {name: summary(steps) for name, steps in taken.items()}
    print(f"\n{'median over steps':32}" + "".join(f"{name:>14}" for name in taken))
    for row in ROWS:
        values = [summaries[name][row] for name in taken]
        print(f"{row:32}" + "".join(f"{_short(value):>14}" for value in values))
    for name, steps in taken.items():
        seconds = [step.seconds for step in steps]
        split = ", ".join(f"{part} {value:.2f}" for part, value in parts(steps).items())
        print(f"\n{name}: {min(seconds):.2f} to {max(seconds):.2f} s a step; {split}")
    print()
    for name, value in ratios(taken).items():
        print(f"{name}: {value:.2f}")


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"


def as_json(arguments: argparse.Namespace, taken: Mapping[str, Sequence[StepFigures]]) -> str:
    shown = {k: getattr(arguments, k) for k in ("steps", "threads", "groups", "rollouts", "rank")}
    variants = {
        name: {row.replace(" ", "_"): round(value, 4) for row, value in summary(steps).items()}
        | {"parts": {part: round(value, 4) for part, value in parts(steps).items()}}
        | {"all_seconds": [round(step.seconds, 4) for step in steps]}
        for name, steps in taken.items()
    }
    rounded = {name: round(value, 3) for name, value in ratios(taken).items()}
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
            prepare_data(config, folder)
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
