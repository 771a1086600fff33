"""Atomic checkpoints in ART's layout.

``<model>/checkpoints/<step:04d>/`` holds the adapter in PEFT's format and the trainer's state. A
checkpoint is written to a sibling folder with a non-numeric name, which ART and we ignore, flushed
to disk and renamed, so a kill at any moment leaves the previous one in place.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

METRICS = "metrics.json"


def checkpoint_dir(model_dir: Path, step: int) -> Path:
    return model_dir / "checkpoints" / f"{step:04d}"


def steps(model_dir: Path) -> list[int]:
    """The steps with a complete checkpoint, ascending."""
    folder = model_dir / "checkpoints"
    if not folder.is_dir():
        return []
    return sorted(int(p.name) for p in folder.iterdir() if p.is_dir() and p.name.isdigit())


def write_checkpoint(model_dir: Path, step: int, write: Callable[[Path], None]) -> Path:
    """Have ``write`` fill a folder, then make it the checkpoint of ``step``."""
    final = checkpoint_dir(model_dir, step)
    partial = final.with_name(final.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    write(partial)
    for file in partial.rglob("*"):
        if file.is_file():
            _flush(file)
    if final.exists():
        _discard(final)
    os.rename(partial, final)
    _flush(final.parent)
    return final


def copy_checkpoint(model_dir: Path, step: int, new_step: int) -> Path:
    """Copy a checkpoint to another step, for a step with nothing to train on."""
    source = checkpoint_dir(model_dir, step)

    def write(folder: Path) -> None:
        shutil.copytree(source, folder, dirs_exist_ok=True)
        (folder / METRICS).write_text("{}")

    return write_checkpoint(model_dir, new_step, write)


def trainer_metrics(model_dir: Path, step: int) -> dict[str, float]:
    """The trainer's metrics stored with a checkpoint; empty for other backends' checkpoints."""
    path = checkpoint_dir(model_dir, step) / METRICS
    return json.loads(path.read_text()) if path.exists() else {}


def prune(model_dir: Path, keep: Iterable[int]) -> None:
    """Delete all checkpoints except those of ``keep``, and leftovers of interrupted writes."""
    kept = set(keep)
    for step in steps(model_dir):
        if step not in kept:
            _discard(checkpoint_dir(model_dir, step))
    for leftover in (model_dir / "checkpoints").glob("*.partial"):
        shutil.rmtree(leftover, ignore_errors=True)


def _discard(folder: Path) -> None:
    # Rename first: a half-deleted folder must not look like a checkpoint.
    doomed = folder.with_name(folder.name + ".old.partial")
    shutil.rmtree(doomed, ignore_errors=True)
    os.rename(folder, doomed)
    shutil.rmtree(doomed)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
