from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# A process of its own: ART, which the other tests use, imports wandb whatever is set.
TRACK = """
import json, os, sys
from pathlib import Path
from training.run.tracking import Tracker

folder = Path(sys.argv[1])
os.environ["WANDB_API_KEY"] = ""  # as compose files set what they are not given
silent = Tracker("art-rl", "run", {"seed": 0}, folder)
silent.log({"training_step": 1, "train/reward": 1.0})
silent.close()
before = "wandb" in sys.modules
os.environ["WANDB_MODE"] = "offline"
tracker = Tracker("art-rl", "run", {"seed": 7}, folder)
for step in (1, 2):
    tracker.log(
        {
            "training_step": step,
            "train/reward": 0.5 * step,
            "data/scenario_ids": ["a"],
            "data/dropped": {"timeout": step},
            "data/first_error": "late",
        }
    )
tracker.close()
print(json.dumps(before))
"""


def records(run: Path) -> Iterator[bytes]:
    """The records of a W&B file: LevelDB's log format after a header of seven bytes."""
    data, at, parts = run.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 32_768 - at % 32_768 < 7:  # no room for a record's header before the next block
            at += 32_768 - at % 32_768
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


def history(run: Path) -> list[dict[str, Any]]:
    """What was logged, one dictionary a call."""
    from wandb.proto import wandb_internal_pb2

    rows = []
    for data in records(run):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            rows.append({i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in items})
    return rows


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bool]:
    folder = tmp_path_factory.mktemp("tracked")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
    done = subprocess.run(
        [sys.executable, "-c", TRACK, str(folder)],
        capture_output=True,
        text=True,
        # Whoever asks the network gets no answer.
        env=environment
        | {
            "PYTHONPATH": ":".join(sys.path),
            "WANDB_BASE_URL": "http://127.0.0.1:9",
            "HTTPS_PROXY": "http://127.0.0.1:9",
            "HOME": str(folder),
        },
    )
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout.strip().splitlines()[-1])


def test_without_key_or_mode_nothing_is_imported(tracked: tuple[Path, bool]) -> None:
    assert tracked[1] is False


def test_offline_a_run_is_recorded_without_key_or_network(tracked: tuple[Path, bool]) -> None:
    (run,) = tracked[0].glob("wandb/offline-run-*/run-run.wandb")
    rows = history(run)
    assert [row["training_step"] for row in rows] == [1, 2]
    assert [row["train/reward"] for row in rows] == [0.5, 1.0]
    assert [row["data/dropped/timeout"] for row in rows] == [1, 2]
    assert not {"data/scenario_ids", "data/first_error"} & rows[0].keys()
