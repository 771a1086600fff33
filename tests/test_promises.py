"""Each promise in docs/promises.md is held by tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROMISES = (ROOT / "docs" / "promises.md").read_text()
NAMED = re.findall(r"`(tests/\S+\.py)::(\w+)`", PROMISES)


def test_every_promise_names_a_test() -> None:
    rows = [line for line in PROMISES.splitlines() if re.match(r"\| (?!promise|-)", line)]
    assert len(rows) > 50
    assert [row for row in rows if "::test_" not in row] == []


def test_every_test_that_is_named_exists() -> None:
    defined = {
        (file, node.name)
        for file in {file for file, _ in NAMED}
        for node in ast.parse((ROOT / file).read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert set(NAMED) - defined == set()
