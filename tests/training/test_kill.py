"""A run that is killed with SIGKILL, over and over, against one that nothing disturbed."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import safe_open

from tests.training import victims
from tests.training.conftest import Finished, Start
from training.run.run_log import STEP

CHECKPOINTS = "art/art-rl/models/run/checkpoints"


def kill_when(reached: Callable[[Path], bool], folder: Path, process: Any) -> bool:
    """Kill the process at a moment, unless it is over before that is noticed."""
    deadline = time.monotonic() + 60
    while process.is_alive() and not reached(folder):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def lines(folder: Path) -> list[str]:
    path = folder / "metrics.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def assert_no_half_written_checkpoint(folder: Path) -> None:
    for checkpoint in (folder / CHECKPOINTS).iterdir():
        if checkpoint.name.isdigit():
            with safe_open(checkpoint / "adapter_model.safetensors", "pt") as weights:
                names = list(weights.keys())
                assert all(weights.get_tensor(name).isfinite().all() for name in names)
            assert (checkpoint / "trainer_state.pt").stat().st_size > 1000
            json.loads((checkpoint / "metrics.json").read_text())


# Each is waited for in a run of its own, which continues what the one before left.
MOMENTS: dict[str, Callable[[Path], bool]] = {
    "in the first rollouts": lambda folder: (folder / CHECKPOINTS / "0000").exists(),
    "in training": lambda folder: (folder / "pending.json").exists(),
    "while a checkpoint is written": lambda folder: any((folder / CHECKPOINTS).glob("*.partial")),
    "after a checkpoint": lambda folder: (folder / CHECKPOINTS / "0002").exists(),
    "after a step": lambda folder: len(lines(folder)) == 2,
}


def test_a_run_killed_at_several_moments_is_in_the_end_the_undisturbed_one(
    finished: Finished, files: dict[str, Path], tmp_path: Path, start: Start
) -> None:
    killed = 0
    for reached in MOMENTS.values():
        process = start(victims.train, tmp_path, files, 3)
        killed += kill_when(reached, tmp_path, process)
        assert_no_half_written_checkpoint(tmp_path)
    assert killed >= 3
    process = start(victims.train, tmp_path, files, 3)
    process.join()
    assert process.exitcode == 0

    records = [json.loads(line) for line in lines(tmp_path)]
    assert [record[STEP] for record in records] == [1, 2, 3]
    for name in ("data/scenario_ids", "data/step_num_trajectories", "train/reward"):
        assert [r[name] for r in records] == [r[name] for r in finished.records], name
    assert all(record["loss/probs_corr"] > 0.999 for record in records)
    assert {p.name for p in (tmp_path / CHECKPOINTS).iterdir()} == {"0002", "0003"}
    assert_no_half_written_checkpoint(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        p.name for p in finished.folder.iterdir()
    )
