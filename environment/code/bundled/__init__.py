"""Problems of our own, from simple one-liners to small algorithms; nothing to download."""

from __future__ import annotations

from pathlib import Path

from environment.code.models import CodeProblem

_FILE = Path(__file__).parent / "problems.jsonl"


def problems() -> list[CodeProblem]:
    """All bundled problems of both splits, as :mod:`environment.code.bundled.generate` wrote them."""
    lines = _FILE.read_text(encoding="utf-8").splitlines()
    return [CodeProblem.model_validate_json(line) for line in lines]
