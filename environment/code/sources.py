"""Where problems come from: our own, MBPP from the hub, or a file of the same form.

MBPP is Austin et al., "Program Synthesis with Large Language Models", 2021. A problem that cannot
be used is counted under a reason, never silently left out.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from environment.base import Split, StrictModel, UserError
from environment.code.assertions import NotSeparable, take_apart
from environment.code.bundled import problems as bundled_problems
from environment.code.config import CodeDataConfig
from environment.code.models import CodeProblem
from environment.hub import HubError, load_rows

_COLUMNS = {
    "full": frozenset({"task_id", "text", "code", "test_list", "challenge_test_list"}),
    "sanitized": frozenset({"task_id", "prompt", "code", "test_list", "test_imports"}),
}
# What MBPP's own file, which names no splits, says of its task ids.
_TEST_IDS, _TRAIN_IDS, _OTHER_IDS = range(11, 511), range(601, 975), range(1, 601)


class ProblemError(UserError):
    """Problems that cannot be read; the text names the source and what is wrong with it."""


class ProblemReport(StrictModel):
    """How many problems are left in each split, and why others were left out."""

    train: int
    test: int
    skipped: dict[str, int]


def load_problems(config: CodeDataConfig, skipped: Counter[str]) -> list[CodeProblem]:
    """The problems of the configured source, both splits, each within its limit.

    Raises:
        ProblemError: the source cannot be read, has no problem of a split, or one of them twice.
    """
    found: dict[Split, list[CodeProblem]] = {"train": [], "test": []}
    for problem in _problems(config, skipped):
        found[problem.split].append(problem)
    for split, problems in found.items():
        if not problems:
            left_out = ", ".join(f"{n} {reason}" for reason, n in skipped.items()) or "none"
            raise ProblemError(
                f"the source {config.source} has no problem to {split} on (left out: {left_out})"
            )
    problems = found["train"][: config.train_limit] + found["test"][: config.test_limit]
    name, times = Counter(problem.id for problem in problems).most_common(1)[0]
    if times > 1:
        raise ProblemError(
            f"the source {config.source} has {name} {times} times: what is held out would be "
            "trained on, or count twice. Name different splits, or each problem once"
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
            skipped["malformed"] += 1  # Python's parser runs out of memory where it is too deep


class _TooFewTests(Exception):
    pass


def problem_of(row: Mapping[str, Any], split: Split, visible_tests: int) -> CodeProblem:
    """A row of MBPP, in its full or its sanitized form.

    Args:
        visible_tests: how many of ``test_list`` the agent sees; the others are hidden, and with
            them those of ``challenge_test_list``.

    Raises:
        NotSeparable, _TooFewTests, KeyError, SyntaxError, TypeError, ValidationError: it cannot
            be used.
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
                f"{error}. Without network, name a local copy in data.dataset, use data.source: "
                "jsonl with the file mbpp.jsonl, or data.source: bundled"
            ) from error


def _file_rows(config: CodeDataConfig) -> Iterator[tuple[Mapping[str, Any], Split]]:
    assert config.path is not None, "given with source: jsonl"
    for where, row in read_lines(config.path):
        split: str = row.get("split") or _split_of(row.get("task_id"), where)
        if split == "train":
            yield row, "train"
        elif split == "test":
            yield row, "test"
        elif split not in ("validation", "prompt"):
            raise ProblemError(f"{where}: split must be train or test, not {split!r}")


def _split_of(task_id: object, where: str) -> str:
    """The split that MBPP's own file means by a task id."""
    if task_id in _TEST_IDS:
        return "test"
    if task_id in _TRAIN_IDS:
        return "train"
    if task_id in _OTHER_IDS:
        return "validation"
    raise ProblemError(
        f"{where}: it has no split, and its task_id {task_id!r} is none of MBPP's: add "
        '"split": "train" or "split": "test"'
    )


def read_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a JSONL file, each with where it stands.

    Raises:
        ProblemError: there is no such file, or a line is no JSON object.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # not splitlines: JSON holds U+2028
    except (OSError, UnicodeDecodeError) as error:
        raise ProblemError(f"cannot read the problems {path}: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ProblemError(f"{where}: not JSON ({error})") from error
        if not isinstance(row, dict):
            raise ProblemError(f"{where}: a problem must be an object")
        yield where, row


def fingerprint(config: CodeDataConfig) -> str:
    """Digest of local problems, or of the bundled ones; empty for the hub's, which a revision
    pins."""
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


def write_problems(path: Path, problems: Iterable[CodeProblem]) -> None:
    path.write_text("".join(f"{p.model_dump_json()}\n" for p in problems), encoding="utf-8")


def read_problems(path: Path) -> Sequence[CodeProblem]:
    """What ``write_problems`` wrote.

    Raises:
        ProblemError: it is something else.
    """
    try:
        return [CodeProblem.model_validate(row) for _, row in read_lines(path)]
    except ValidationError as error:
        raise ProblemError(f"{path} holds no problems: {error}") from error
