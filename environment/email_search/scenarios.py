"""Reads and validates scenarios, and keeps their splits disjoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from environment.base import SplitReport, UserError
from environment.email_search.models import EmailScenario, counts_text
from environment.jsonl import read_jsonl


class ScenarioError(UserError):
    """Unusable scenarios; the message names the file, the line and the field."""


def read_scenarios(path: Path) -> list[EmailScenario]:
    """
    Raises:
        ScenarioError: unreadable or empty file, invalid JSON, missing or invalid field.
    """
    scenarios = [parse_row(row, where) for where, row in read_jsonl(path, ScenarioError)]
    if not scenarios:
        raise ScenarioError(f"{path} holds no scenario")
    return scenarios


def parse_row(row: object, where: str) -> EmailScenario:
    """Parse a row of the questions dataset, ignoring unknown columns.

    Raises:
        ScenarioError: a field is missing or invalid.
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


def select(
    scenarios: Sequence[EmailScenario], known_ids: frozenset[str]
) -> tuple[list[EmailScenario], SplitReport]:
    """Select the scenarios that are usable and do not leak test data.

    Skips and counts scenarios with several gold emails (as in ART-E), with a gold email that is
    not in the database, and training scenarios that share their gold email with a test scenario.

    Raises:
        ScenarioError: no scenario is left.
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
    report = SplitReport(
        train=splits["train"], test=splits["test"], skipped=dict(sorted(skipped.items()))
    )
    if not kept:
        raise ScenarioError(f"no usable scenario ({counts_text(skipped) or 'the input is empty'})")
    return kept, report
