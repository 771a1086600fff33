"""The processes of ``benchmarks.vs_trl``: one a variant, asleep until it is its turn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks._vs_trl_common import StepFigures

ROOT = Path(__file__).resolve().parents[1]
OURS, TRL = "ours", ("trl_defaults", "trl_tuned")
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
        with suppress(BrokenPipeError):  # receive says why it has ended
            self._process.stdin.write("step\n")
            self._process.stdin.flush()
        return StepFigures(**self.receive())

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


def trl_is_missing(python: str) -> str | None:
    """What to do, if this interpreter has no TRL."""
    wanted = (ROOT / "benchmarks/requirements-trl.txt").read_text().split("trl==")[1].split()[0]
    probe = "import importlib.metadata as m; print(m.version('trl'))"
    try:
        probed = subprocess.run([python, "-c", probe], capture_output=True, text=True, check=False)
    except OSError as error:
        return f"--trl-python {python}: {error.strerror}"
    if probed.returncode:
        return (
            f"TRL is not installed for {python}. Either add it to this environment, whose versions "
            "it accepts:\n    pip install -r benchmarks/requirements-trl.txt\n"
            "or make one of its own and name it:\n    python -m venv .venv-trl\n"
            "    .venv-trl/bin/pip install -r requirements.txt -r benchmarks/requirements-trl.txt\n"
            "    python -m benchmarks.vs_trl --trl-python .venv-trl/bin/python"
        )
    if probed.stdout.strip() != wanted:
        return (
            f"{python} has TRL {probed.stdout.strip()}; this benchmark is written against {wanted} "
            "(it puts clocks into the trainer): pip install -r benchmarks/requirements-trl.txt"
        )
    return None


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
