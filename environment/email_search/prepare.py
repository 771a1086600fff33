"""The work of the data pipeline, free of any pipeline: mails to a file, a database, scenarios."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from environment.base import StrictModel
from environment.email_search.config import EmailDataConfig
from environment.email_search.corpus_file import read_mails, write_mails
from environment.email_search.email_db import EmailDatabase, build_database
from environment.email_search.models import BuildReport, Email, EmailScenario
from environment.email_search.sample.corpus import Inbox, generate, scenarios_of
from environment.email_search.scenarios import (
    ScenarioReport,
    parse_row,
    read_jsonl,
    select,
    write_jsonl,
)
from environment.email_search.sources import Source, SourceError, Tally
from environment.email_search.sources.files import MaildirSource, MboxSource
from environment.email_search.sources.hub import HubSource, question_rows
from environment.email_search.synthesis import synthesise

MAILS, TALLY = "mails.parquet", "tally.json"


class SampleConfig(StrictModel):
    """What decides the sample inboxes."""

    seed: int
    train_inboxes: int
    test_inboxes: int
    mails_per_inbox: int


class SourceConfig(StrictModel):
    """The part of ``EmailDataConfig`` that decides which mails there are."""

    source: str
    path: Path | None
    dataset: str
    dataset_revision: str | None
    sample: SampleConfig | None

    @classmethod
    def of(cls, config: EmailDataConfig) -> SourceConfig:
        return cls(**_settings(cls, config), sample=_sample_config(config.source, config))


class ScenarioConfig(StrictModel):
    """The part of ``EmailDataConfig`` that decides which scenarios there are."""

    source: str
    path: Path | None
    questions: str
    questions_revision: str | None
    sample: SampleConfig | None

    @classmethod
    def of(cls, config: EmailDataConfig) -> ScenarioConfig:
        source = config.scenario_source
        own = {"source": source, "path": config.scenarios_path}
        return cls(**_settings(cls, config) | own, sample=_sample_config(source, config))


def _settings(part: type[StrictModel], config: EmailDataConfig) -> dict[str, Any]:
    """The settings of ``config`` that are fields of ``part`` too."""
    return {name: getattr(config, name) for name in part.model_fields if hasattr(config, name)}


def _sample_config(source: str, config: EmailDataConfig) -> SampleConfig | None:
    # None where no sample is made: its seed must not make the steps of other sources run again.
    return SampleConfig(**_settings(SampleConfig, config)) if source == "sample" else None


class _SampleSource:
    def __init__(self, inboxes: list[Inbox]) -> None:
        self._inboxes = inboxes

    def emails(self, tally: Tally) -> Iterable[Email]:
        return (mail for inbox in self._inboxes for mail in inbox.mails)


def _sample(config: SampleConfig | None) -> list[Inbox]:
    assert config is not None, "given with source: sample"
    return generate(**config.model_dump())


def _source(config: SourceConfig) -> Source:
    if config.source == "hub":
        return HubSource(config.dataset, config.dataset_revision)
    if config.source == "sample":
        return _SampleSource(_sample(config.sample))  # type: ignore[return-value]
    if config.path is None:
        raise SourceError(f"source {config.source} needs a path")
    return MaildirSource(config.path) if config.source == "maildir" else MboxSource(config.path)


def fetch_mails(config: SourceConfig, folder: Path) -> int:
    """Read the source into ``folder``: the mails, and the tally of what was left out.

    Raises:
        SourceError: the source cannot be read, or holds no mail.
    """
    tally = Tally()
    count = write_mails(folder / MAILS, _source(config).emails(tally))
    if not count:
        skipped = ", ".join(f"{n} {reason}" for reason, n in tally.skipped.items())
        raise SourceError(
            f"no mail found in {config.path or config.dataset} ({skipped or 'it is empty'})"
        )
    (folder / TALLY).write_text(json.dumps({"skipped": tally.skipped, "notes": tally.notes}))
    return count


def build(mails: Path, database: Path, max_body_chars: int, max_recipients: int) -> BuildReport:
    """The database over a folder that ``fetch_mails`` filled."""
    tally = json.loads((mails / TALLY).read_text())
    return build_database(
        database,
        read_mails(mails / MAILS),
        skipped=tally["skipped"],
        notes=tally["notes"],
        max_body_chars=max_body_chars,
        max_recipients=max_recipients,
    )


def make_scenarios(
    config: ScenarioConfig, database: Path, file: Path, written: Sequence[EmailScenario] = ()
) -> ScenarioReport:
    """Write the usable scenarios over ``database`` to ``file``.

    Args:
        written: scenarios that were made elsewhere for the sources ``llm`` and ``both``.

    Raises:
        ScenarioError: they cannot be read, or none is usable.
        SourceError: the hub's questions cannot be loaded.
    """
    mails = EmailDatabase(database)
    try:
        scenarios = [*_scenarios(config, mails), *written]
        known = frozenset(mail.message_id for mail in mails.emails())
    finally:
        mails.close()
    kept, report = select(scenarios, known)
    write_jsonl(file, kept)
    return report


def _scenarios(config: ScenarioConfig, mails: EmailDatabase) -> list[EmailScenario]:
    if config.source == "sample":
        return scenarios_of(_sample(config.sample))
    if config.source == "llm":
        return []
    if config.source in ("synthesise", "both"):
        return synthesise(mails.emails, mails.inboxes())
    if config.source == "file":
        assert config.path is not None, "checked by EmailDataConfig"
        return read_jsonl(config.path)
    return [
        parse_row(row, f"{config.questions}, {split}, row {index}")
        for split in ("train", "test")
        for index, row in enumerate(
            question_rows(config.questions, split, config.questions_revision)
        )
    ]


def fingerprint(path: Path | None) -> str:
    """A cheap digest of what lies at ``path`` (names, sizes, times), so that a cache notices when
    a user's mails have changed; empty if there is no path."""
    if path is None:
        return ""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    digest = hashlib.sha256()
    for file in files:
        status = file.stat()
        digest.update(os.fsencode(file))
        digest.update(f"\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
