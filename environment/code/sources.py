"""Problem sources: bundled, MBPP from the Hub, or a file in the same format.

MBPP is Austin et al., "Program Synthesis with Large Language Models", 2021. Unusable problems are
counted by reason, never dropped silently.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from environment.base import Split, UserError
from environment.code.assertions import NotSeparable, take_apart
from environment.code.bundled import problems as bundled_problems
from environment.code.config import CodeDataConfig
from environment.code.models import CodeProblem
from environment.hub import HubError, load_rows
from environment.jsonl import read_jsonl

_COLUMNS = {
    "full": frozenset({"task_id", "text", "code", "test_list", "challenge_test_list"}),
    "sanitized": frozenset({"task_id", "prompt", "code", "test_list", "test_imports"}),
}
# MBPP's own file has no split column; its README assigns these task ids.
_TEST_IDS, _TRAIN_IDS, _OTHER_IDS = range(11, 511), range(601, 975), range(1, 601)


class ProblemError(UserError):
    """Unreadable problems; the message names the source and what is wrong with it."""


def load_problems(config: CodeDataConfig, skipped: Counter[str]) -> list[CodeProblem]:
    """The configured source's problems, each split within its limit.

    Raises:
        ProblemError: the source cannot be read, lacks a split, or repeats a problem.
    """
    by_split: dict[Split, list[CodeProblem]] = {"train": [], "test": []}
    for problem in _problems(config, skipped):
        by_split[problem.split].append(problem)
    for split, problems in by_split.items():
        if not problems:
            left_out = ", ".join(f"{n} {reason}" for reason, n in skipped.items()) or "none"
            raise ProblemError(
                f"the source {config.source} has no problem to {split} on (left out: {left_out})"
            )
    problems = by_split["train"][: config.train_limit] + by_split["test"][: config.test_limit]
    name, times = Counter(problem.id for problem in problems).most_common(1)[0]
    if times > 1:
        raise ProblemError(
            f"the source {config.source} has {name} {times} times: a held-out problem would be "
            "trained on or counted twice. Use different splits, and each problem once"
        )
    return problems


def _problems(config: CodeDataConfig, skipped: Counter[str]) -> Iterator[CodeProblem]:
    if config.source == "bundled":
        yield from bundled_problems()
        return
    for row, split in _mbpp_rows(config) if config.source == "mbpp" else _file_rows(config):
        try:
            yield problem_of(row, split, config.visible_tests)
        except NotSeparable:
            skipped["test_not_separable"] += 1
        except _TooFewTests:
            skipped["too_few_tests"] += 1
        except (KeyError, MemoryError, RecursionError, SyntaxError, TypeError, ValidationError):
            skipped["malformed"] += 1  # Python's parser raises MemoryError on deep nesting


class _TooFewTests(Exception):
    pass


def problem_of(row: Mapping[str, Any], split: Split, visible_tests: int) -> CodeProblem:
    """Convert a row of MBPP, in its full or sanitized form.

    Args:
        visible_tests: how many of ``test_list`` the agent sees; the rest and
            ``challenge_test_list`` are hidden.

    Raises:
        NotSeparable, _TooFewTests, KeyError, SyntaxError, TypeError, ValidationError: the row is
            unusable.
    """
    tests = [str(test) for test in row["test_list"]]
    hidden = tests[visible_tests:] + [str(test) for test in row.get("challenge_test_list") or ()]
    if not hidden:
        raise _TooFewTests
    imports = row.get("test_imports") or []
    if isinstance(imports, str):
        imports = [imports]
    setup = "\n".join([*imports, row.get("test_setup_code") or ""]).strip()
    solution = str(row["code"] or "").replace("\r\n", "\n")
    for test in (*tests[:visible_tests], *hidden):
        take_apart(test, setup, solution)  # pydantic would hide the reason
    return CodeProblem(
        id=f"mbpp/{row['task_id']}",
        split=split,
        text=str(row.get("text") or row["prompt"]),
        visible_tests=tuple(tests[:visible_tests]),
        hidden_tests=tuple(hidden),
        setup=setup,
        solution=solution,
        kind=str(row.get("kind") or "mbpp"),
    )


def _mbpp_rows(config: CodeDataConfig) -> Iterator[tuple[Mapping[str, Any], Split]]:
    splits: tuple[tuple[str, Split], ...] = (
        (config.train_split, "train"),
        (config.test_split, "test"),
    )
    for name, split in splits:
        try:
            rows = load_rows(
                config.dataset,
                name,
                config.dataset_revision,
                _COLUMNS[config.dataset_config],
                config.dataset_config,
            )
            yield from ((row, split) for row in rows)
        except HubError as error:
            raise ProblemError(
                f"{error}. Without network access, set data.dataset to a local copy, or use "
                "data.source: jsonl with the file mbpp.jsonl, or data.source: bundled"
            ) from error


def _file_rows(config: CodeDataConfig) -> Iterator[tuple[Mapping[str, Any], Split]]:
    assert config.path is not None, "checked by CodeDataConfig"
    for where, row in _read_rows(config.path):
        split: str = row.get("split") or _split_of(row.get("task_id"), where)
        if split == "train":
            yield row, "train"
        elif split == "test":
            yield row, "test"
        elif split not in ("validation", "prompt"):
            raise ProblemError(f"{where}: split must be train or test, not {split!r}")


def _split_of(task_id: object, where: str) -> str:
    """The split to which MBPP assigns a task id."""
    if task_id in _TEST_IDS:
        return "test"
    if task_id in _TRAIN_IDS:
        return "train"
    if task_id in _OTHER_IDS:
        return "validation"
    raise ProblemError(
        f"{where}: no split, and task_id {task_id!r} is not one of MBPP's: add "
        '"split": "train" or "split": "test"'
    )


def _read_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for where, row in read_jsonl(path, ProblemError):
        if not isinstance(row, dict):
            raise ProblemError(f"{where}: a problem must be an object")
        yield where, row


def fingerprint(config: CodeDataConfig) -> str:
    """Digest of local or bundled problems; empty for the Hub's, which are pinned by revision."""
    if config.source == "bundled":
        texts = (problem.model_dump_json() for problem in bundled_problems())
        return hashlib.sha256("\n".join(texts).encode()).hexdigest()
    local = config.path if config.source == "jsonl" else Path(config.dataset)
    digest = hashlib.sha256()
    if local is None or not local.exists():
        return ""
    for file in sorted(local.rglob("*")) if local.is_dir() else [local]:
        if file.is_file():
            digest.update(f"{file.relative_to(local)}\n".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def read_problems(path: Path) -> Sequence[CodeProblem]:
    """Read a JSONL file of problems.

    Raises:
        ProblemError: the file is unreadable or invalid.
    """
    try:
        return [CodeProblem.model_validate(row) for _, row in _read_rows(path)]
    except ValidationError as error:
        raise ProblemError(f"{path} holds no problems: {error}") from error
