"""The data pipeline's stages: emails, database, scenarios."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from environment.base import StrictModel
from environment.email_search import prepare, writing
from environment.email_search.config import EmailDataConfig, EmailSearchConfig
from environment.email_search.prepare import ScenarioConfig, SourceConfig, fingerprint
from environment.package import Stage, Work

_HERE = "environment.email_search"
_SAMPLE = tuple(f"{_HERE}.sample.{name}" for name in ("corpus", "facts", "names"))


class DatabaseConfig(StrictModel):
    """Which emails are stored."""

    max_body_chars: int
    max_recipients: int


def stages(data: EmailDataConfig, config: EmailSearchConfig) -> list[Stage]:
    """Each stage gets only the settings it depends on, so that a change reruns nothing else."""
    download = Stage(
        "download_enron_data",
        "mails",
        download_mails,
        SourceConfig.of(data),
        fingerprint=partial(fingerprint, data.path),
        code=(
            f"{_HERE}.prepare",
            *_SAMPLE,
            *(f"{_HERE}.sources.{name}" for name in ("files", "hub", "rfc822")),
        ),
    )
    database = Stage(
        "create_database",
        "database",
        create_database,
        DatabaseConfig(max_body_chars=data.max_body_chars, max_recipients=data.max_recipients),
        needs=("mails",),
        file="mails.db",
        code=(f"{_HERE}.email_db",),
    )
    write = Stage(
        "write_scenarios",
        "written_scenarios",
        writing.write_scenarios,
        data.writer,
        needs=("database",),
        code=tuple(
            f"{_HERE}.{name}"
            for name in "writer_prompts writer batches drafts evidence matching synthesis".split()
        ),
        model=data.writer,
    )
    written = [write] if data.llm_writes else []
    load = Stage(
        "load_scenarios",
        "scenarios",
        load_scenarios,
        ScenarioConfig.of(data),
        needs=("database", *(stage.artifact for stage in written)),
        file="scenarios.jsonl",
        fingerprint=partial(fingerprint, data.scenarios_path),
        code=(f"{_HERE}.prepare", f"{_HERE}.scenarios", f"{_HERE}.synthesis", *_SAMPLE),
    )
    return [download, database, *written, load]


def download_mails(work: Work, settings: SourceConfig) -> dict[str, Any]:
    """Fetch the configured source's emails into one folder, with a tally of those left out."""
    work.out.mkdir()
    count = prepare.fetch_mails(settings, work.out)
    tally = json.loads((work.out / prepare.TALLY).read_text())
    return {"source": settings.source, "mails": count, **tally}


def create_database(work: Work, settings: DatabaseConfig, mails: Path) -> dict[str, Any]:
    report = prepare.build(mails, work.out, settings.max_body_chars, settings.max_recipients)
    return report.model_dump()


def load_scenarios(
    work: Work, settings: ScenarioConfig, database: Path, written_scenarios: Path | None = None
) -> dict[str, Any]:
    """Load, synthesise or generate scenarios and check them against the database."""
    written = writing.read_written(written_scenarios) if written_scenarios else []
    report = prepare.make_scenarios(settings, database, work.out, written).model_dump()
    if written_scenarios:
        report["writer"] = writing.report_of(written_scenarios).model_dump(exclude_none=True)
    return report
