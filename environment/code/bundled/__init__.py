"""Bundled problems, from one-liners to small algorithms; nothing to download."""

from __future__ import annotations

from pathlib import Path

from environment.code.models import CodeProblem

_FILE = Path(__file__).parent / "problems.jsonl"


def problems() -> list[CodeProblem]:
    """The problems of both splits, as written by :mod:`environment.code.bundled.generate`."""
    lines = _FILE.read_text(encoding="utf-8").splitlines()
    return [CodeProblem.model_validate_json(line) for line in lines]
