"""The data pipeline's work, independent of ZenML: fetch emails, build the database, make scenarios."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from environment.base import SplitReport, StrictModel
from environment.email_search.config import EmailDataConfig
from environment.email_search.corpus_file import read_mails, write_mails
from environment.email_search.email_db import EmailDatabase, build_database
from environment.email_search.models import BuildReport, Email, EmailScenario, counts_text
from environment.email_search.sample.corpus import Inbox, generate, scenarios_of
from environment.email_search.scenarios import parse_row, read_scenarios, select
from environment.email_search.sources import SourceError, Tally
from environment.email_search.sources.files import MaildirSource, MboxSource
from environment.email_search.sources.hub import HubSource, question_rows
from environment.email_search.synthesis import synthesise
from environment.jsonl import write_jsonl

MAILS, TALLY = "mails.parquet", "tally.json"


class SampleConfig(StrictModel):
    """The settings that determine the sample inboxes."""

    seed: int
    train_inboxes: int
    test_inboxes: int
    mails_per_inbox: int


class SourceConfig(StrictModel):
    """The part of ``EmailDataConfig`` that determines the emails."""

    source: str
    path: Path | None
    dataset: str
    dataset_revision: str | None
    sample: SampleConfig | None

    @classmethod
    def of(cls, config: EmailDataConfig) -> SourceConfig:
        return cls(**_settings(cls, config), sample=_sample_config(config.source, config))


class ScenarioConfig(StrictModel):
    """The part of ``EmailDataConfig`` that determines the scenarios."""

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
    """The settings of ``config`` that ``part`` also has."""
    return {name: getattr(config, name) for name in part.model_fields if hasattr(config, name)}


def _sample_config(source: str, config: EmailDataConfig) -> SampleConfig | None:
    # None for other sources: a new sample seed must not invalidate their cached steps.
    return SampleConfig(**_settings(SampleConfig, config)) if source == "sample" else None


def _sample(config: SampleConfig | None) -> list[Inbox]:
    assert config is not None, "set for source: sample"
    return generate(**config.model_dump())


def _emails(config: SourceConfig, tally: Tally) -> Iterable[Email]:
    if config.source == "hub":
        return HubSource(config.dataset, config.dataset_revision).emails(tally)
    if config.source == "sample":
        return (mail for inbox in _sample(config.sample) for mail in inbox.mails)
    if config.path is None:
        raise SourceError(f"source {config.source} needs a path")
    source = MaildirSource if config.source == "maildir" else MboxSource
    return source(config.path).emails(tally)


def fetch_mails(config: SourceConfig, folder: Path) -> int:
    """Write the source's emails and its tally to ``folder``; return the number of emails.

    Raises:
        SourceError: the source is unreadable or empty.
    """
    tally = Tally()
    count = write_mails(folder / MAILS, _emails(config, tally))
    if not count:
        skipped = counts_text(tally.skipped) or "it is empty"
        raise SourceError(f"no email found in {config.path or config.dataset} ({skipped})")
    (folder / TALLY).write_text(json.dumps({"skipped": tally.skipped, "notes": tally.notes}))
    return count


def build(mails: Path, database: Path, max_body_chars: int, max_recipients: int) -> BuildReport:
    """Build the database from a folder written by ``fetch_mails``."""
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
) -> SplitReport:
    """Write the usable scenarios over ``database`` to ``file``.

    Args:
        written: scenarios by a language model, for the sources ``llm`` and ``both``.

    Raises:
        ScenarioError: scenarios are unreadable, or none is usable.
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
        return read_scenarios(config.path)
    return [
        parse_row(row, f"{config.questions}, {split}, row {index}")
        for split in ("train", "test")
        for index, row in enumerate(
            question_rows(config.questions, split, config.questions_revision)
        )
    ]


def fingerprint(path: Path | None) -> str:
    """A cheap digest of the files at ``path`` (names, sizes, times), so that caches notice changed
    emails; empty without a path."""
    if path is None:
        return ""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    digest = hashlib.sha256()
    for file in files:
        status = file.stat()
        digest.update(os.fsencode(file))
        digest.update(f"\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
