"""The files of a run folder: settings, trajectories, the exported adapter."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from agent.rollout import Rollout
from environment.base import StrictModel, UserError
from environment.files import write_atomically

_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
_RESUME_FILES = (
    "settings.json",
    "metrics.jsonl",
    "samples_before.json",
    "spent.json",
    "art/*/models/*/steps.json",
    "trajectories/*.parquet",
    "wandb/sent_step",
)
POLICY_FILE = "policy.json"


class RunMismatch(UserError):
    """The run folder belongs to a run with other settings."""


class PolicyRecord(StrictModel):
    """Base model and origin of an adapter, stored beside its weights.

    Args:
        base_fingerprint: digest of the base model's files; empty for a hub model.
        data: digests of the artifacts it was trained on, by name.
    """

    base_model: str
    base_fingerprint: str
    lora_rank: int
    step: int
    run: str
    seed: int
    data: dict[str, str]


def fingerprint(path: Path) -> str:
    """A digest of the contents of a file or folder."""
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()[:16]


def base_fingerprint(base_model: str) -> str:
    """A digest of a local base model's weights and tokenizer; empty for a hub model."""
    folder = Path(base_model)
    if not folder.is_dir():
        return ""
    digest = hashlib.sha256()
    for file in sorted([*folder.glob("*.safetensors"), *folder.glob("tokenizer*.json")]):
        digest.update(fingerprint(file).encode())
    return digest.hexdigest()[:16]


def claim(folder: Path, settings: Mapping[str, Any]) -> None:
    """Bind a run folder to its settings.

    Raises:
        RunMismatch: see there.
    """
    path = folder / "settings.json"
    text = json.dumps(settings, indent=2, sort_keys=True, default=str)
    if path.exists():
        old, new = json.loads(path.read_text()), json.loads(text)
        if difference := first_difference(old, new):
            key, was, now = difference
            raise RunMismatch(
                f"{folder} was trained with {key} = {was}, now it is {now}: restore it to "
                "continue that run, or start another one with --name"
            )
    write_atomically(path, text)


def first_difference(old: Any, new: Any, key: str = "") -> tuple[str, Any, Any] | None:
    """Dotted key, old and new value of the first setting that differs."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted({*old, *new}):
            inner = f"{key}.{name}" if key else name
            if difference := first_difference(old.get(name), new.get(name), inner):
                return difference
        return None
    return None if old == new else (key, old, new)


def write_trajectories(folder: Path, step: int, groups: Sequence[Sequence[Rollout]]) -> None:
    """Write the rollouts of a step to a Parquet file, replacing that of an abandoned attempt."""
    rows = [
        {
            "step": step,
            "group": index,
            "scenario_id": rollout.scenario.id,
            "reward": rollout.reward.value,
            "success": rollout.reward.success,
            "reason": rollout.reward.reason,
            "stop": str(rollout.stop),
            "turns": rollout.outcome.turns,
            "prompt_tokens": rollout.prompt_tokens,
            "completion_tokens": rollout.completion_tokens,
            "seconds": rollout.seconds,
            "error": rollout.error,
            "messages": json.dumps(rollout.messages, ensure_ascii=False),
        }
        for index, group in enumerate(groups)
        for rollout in group
    ]
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{step:05d}.partial"
    pq.write_table(pa.Table.from_pylist(rows), partial, compression="zstd")
    partial.rename(folder / f"{step:05d}.parquet")


def resume_files(folder: Path, checkpoint: Path) -> list[Path]:
    """The files of a run folder that another machine needs to continue after a checkpoint."""
    files = [file for name in _RESUME_FILES for file in sorted(folder.glob(name))]
    return files + sorted(file for file in checkpoint.rglob("*") if file.is_file())


def export_adapter(checkpoint: Path, record: PolicyRecord, folder: Path) -> Path:
    """Copy a checkpoint's adapter, without the trainer's state, and add its record."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in _ADAPTER_FILES:
        shutil.copy2(checkpoint / name, folder / name)
    (folder / POLICY_FILE).write_text(record.model_dump_json(indent=2) + "\n")
    return folder


def read_policy_record(adapter: Path) -> PolicyRecord:
    return PolicyRecord.model_validate_json((adapter / POLICY_FILE).read_text())
