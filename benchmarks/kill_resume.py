"""Kill a training run again and again, and see whether anything was lost.

    python -m benchmarks.kill_resume [--kills 10] [--steps 80] [--seed 0]

Trains once without interruption. Then trains the same run in a process that is killed with SIGKILL
at random moments and started again each time, until the kills are used up, and lets it finish. After
every kill each numbered checkpoint must load and every line of metrics.jsonl must parse; at the end
both runs must have come to the same step through the same scenarios, every step exactly once.
Exits with 1 if anything differs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_MODEL_DIR = Path("art") / "art-rl" / "models" / "kill"


def train(folder: Path, steps: int, seed: int) -> None:
    """What the killed process does: one run in ``folder``, from wherever it has got to."""
    from environment.email_search import EmailSearchEnvironment
    from environment.email_search.email_db import EmailDatabase, build_database
    from environment.email_search.sample.corpus import generate, scenarios_of
    from pipelines.config import load_config
    from training.run.runner import run_training
    from training.spec import RunSpec

    config = load_config(
        [Path("configs/laptop.yaml")],
        [
            f"training.max_steps={steps}",
            "training.groups_per_step=2",
            "training.rollouts_per_group=4",
            "training.empty_steps_limit=1000",
        ],
    )
    inboxes = generate(seed, train_inboxes=4, test_inboxes=2)
    database = folder / "mails.db"
    build_database(database, (mail for box in inboxes for mail in box.mails))
    environment = EmailSearchEnvironment(
        EmailDatabase(database), scenarios_of(inboxes), config.environment, config.rollout.max_turns
    )
    spec = RunSpec(
        project="art-rl",
        name="kill",
        seed=seed,
        backend=config.backend,
        training=config.training,
        rollout=config.rollout,
        environment=config.environment.model_dump(mode="json"),
    )
    asyncio.run(run_training(spec, folder, environment, {}))


def start(folder: Path, steps: int, seed: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "benchmarks.kill_resume", "--child", str(folder)]
    command += ["--steps", str(steps), "--seed", str(seed)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def faults_on_disk(folder: Path) -> list[str]:
    """What a kill has left that should not be there."""
    from safetensors import safe_open

    faults = []
    for checkpoint in sorted((folder / _MODEL_DIR / "checkpoints").glob("[0-9]*[0-9]")):
        try:
            with safe_open(checkpoint / "adapter_model.safetensors", "pt") as weights:
                for key in weights.keys():  # noqa: SIM118 (not a mapping)
                    weights.get_tensor(key)
        except Exception as error:  # noqa: BLE001 (reported)
            faults.append(f"checkpoint {checkpoint.name}: {error}")
    log = folder / "metrics.jsonl"
    for line in log.read_text().splitlines(keepends=True) if log.exists() else []:
        try:
            json.loads(line)
        except json.JSONDecodeError:
            # A half-written last line is dropped when the run continues.
            if line.endswith("\n"):
                faults.append(f"metrics.jsonl: {line[:60]!r}")
    return faults


def history(folder: Path) -> list[tuple[int, tuple[str, ...]]]:
    """Step and scenarios of every record."""
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(r["training_step"], tuple(r["data/scenario_ids"])) for r in records]


def time_of(folder: Path, steps: int, seed: int) -> tuple[float, float]:
    """Seconds of an uninterrupted run until its first record, and from there to its end."""
    began = time.monotonic()
    process = start(folder, steps, seed)
    log = folder / "metrics.jsonl"
    while process.poll() is None and not log.exists():
        time.sleep(0.05)
    first = time.monotonic()
    if process.wait():
        raise SystemExit("the uninterrupted run failed")
    return first - began, time.monotonic() - first


def measure(workspace: Path, kills: int, steps: int, seed: int) -> tuple[dict[str, object], bool]:
    straight, killed = workspace / "straight", workspace / "killed"
    straight.mkdir()
    killed.mkdir()
    start_up, training = time_of(straight, steps, seed)
    rng = random.Random(seed)
    moments: list[int] = []
    faults: list[str] = []
    while len(moments) < kills:
        process = start(killed, steps, seed)
        try:
            # Together the kills leave the run about three quarters of its way.
            process.wait(timeout=start_up + rng.uniform(0, 1.5 * training / kills))
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        faults += faults_on_disk(killed)
        log = killed / "metrics.jsonl"
        moments.append(len(log.read_text().splitlines()) if log.exists() else 0)
    code = start(killed, steps, seed).wait()
    same = code == 0 and history(straight) == history(killed)
    result = {
        "kills": len(moments),
        "steps_when_killed": moments,
        "steps": steps,
        "same_steps_and_scenarios": same,
        "faults_on_disk": faults,
    }
    return result, same and not faults and len(moments) == kills


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        train(arguments.child, arguments.steps, arguments.seed)
        return 0
    with tempfile.TemporaryDirectory() as workspace:
        result, good = measure(Path(workspace), arguments.kills, arguments.steps, arguments.seed)
    for name, value in result.items():
        print(f"{name:<26} {value}")
    print(json.dumps(result))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
