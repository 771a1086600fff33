"""JSONL files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from environment.base import StrictModel, UserError


def read_jsonl(path: Path, error_type: type[UserError]) -> Iterator[tuple[str, Any]]:
    """The values of a JSONL file, each with its location for error messages; skips blank lines.

    Raises:
        error_type: the file is unreadable or a line is not JSON.
    """
    try:
        lines = path.read_bytes().split(b"\n")  # not splitlines: JSON allows a bare carriage return
    except OSError as error:
        raise error_type(f"cannot read {path}: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            value = json.loads(line.decode())
        except (ValueError, RecursionError) as error:  # a ValueError where it is not UTF-8, too
            raise error_type(f"{where}: not JSON ({error})") from error
        yield where, value


def write_jsonl(path: Path, models: Iterable[StrictModel]) -> None:
    path.write_text("".join(f"{m.model_dump_json()}\n" for m in models), encoding="utf-8")
