"""Scenarios: read, checked, and kept apart by split."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from environment.base import StrictModel, UserError
from environment.email_search.models import EmailScenario


class ScenarioError(UserError):
    """Scenarios that cannot be used; the text names the file, the line and the field."""


class ScenarioReport(StrictModel):
    """How many scenarios are left in each split, and why others were left out."""

    train: int
    test: int
    skipped: dict[str, int]


def read_jsonl(path: Path) -> list[EmailScenario]:
    """
    Raises:
        ScenarioError: no such file, a line that is no JSON object, a missing or wrong field.
    """
    if not path.is_file():
        raise ScenarioError(f"there is no scenarios file {path}")
    rows = []
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode("utf-8"))
            except (ValueError, RecursionError) as error:
                raise ScenarioError(f"{path}, line {number}: not JSON ({error})") from error
            rows.append(parse_row(row, f"{path}, line {number}"))
    if not rows:
        raise ScenarioError(f"{path} holds no scenario")
    return rows


def parse_row(row: object, where: str) -> EmailScenario:
    """A row of the questions schema as a scenario; columns it does not know are ignored.

    Raises:
        ScenarioError: a field is missing or wrong.
    """
    if not isinstance(row, Mapping):
        raise ScenarioError(f"{where}: a scenario must be an object")
    known: dict[str, Any] = {k: row[k] for k in EmailScenario.model_fields if k in row}
    try:
        return EmailScenario.model_validate(known)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise ScenarioError(f"{where}: {field}: {first['msg']}") from error


def write_jsonl(path: Path, scenarios: Iterable[EmailScenario]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for scenario in scenarios:
            file.write(scenario.model_dump_json() + "\n")


def select(
    scenarios: Sequence[EmailScenario], known_ids: frozenset[str]
) -> tuple[list[EmailScenario], ScenarioReport]:
    """The scenarios that can be used and evaluated honestly.

    Left out, and counted: more than one gold mail (as in ART-E), a gold mail that is not in the
    database, and training scenarios whose gold mail is also the gold mail of a test scenario.

    Raises:
        ScenarioError: nothing is left in either split.
    """
    skipped: Counter[str] = Counter()
    usable = []
    for scenario in scenarios:
        if len(scenario.message_ids) != 1:
            skipped["several_gold_mails"] += 1
        elif scenario.message_ids[0] not in known_ids:
            skipped["gold_mail_not_in_database"] += 1
        else:
            usable.append(scenario)
    test_mails = {s.message_ids[0] for s in usable if s.split == "test"}
    kept = []
    for scenario in usable:
        if scenario.split == "train" and scenario.message_ids[0] in test_mails:
            skipped["gold_mail_in_test"] += 1
        else:
            kept.append(scenario)
    splits = Counter(scenario.split for scenario in kept)
    report = ScenarioReport(
        train=splits["train"], test=splits["test"], skipped=dict(sorted(skipped.items()))
    )
    if not kept:
        reasons = ", ".join(f"{n} {reason}" for reason, n in report.skipped.items())
        raise ScenarioError(f"no usable scenario ({reasons or 'none were given'})")
    return kept, report
