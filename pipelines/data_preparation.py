"""Mails to a database and scenarios; every step cached."""

from __future__ import annotations

from pathlib import Path

from zenml import pipeline
from zenml.enums import ExecutionMode

from environment.email_search.config import EmailDataConfig
from environment.email_search.prepare import ScenarioConfig, SourceConfig, fingerprint
from environment.email_search.writer import WriterConfig
from steps.data import create_database, download_enron_data, load_scenarios, write_scenarios


@pipeline(name="data_preparation", enable_cache=True, execution_mode=ExecutionMode.FAIL_FAST)
def data_preparation_pipeline(
    data: EmailDataConfig, writer: WriterConfig | None = None, replies: Path | None = None
) -> None:
    """Each step gets only the settings it depends on, so a changed one re-runs no more than that.

    Args:
        writer, replies: of the step that lets a language model write scenarios, where one does.
    """
    mails = download_enron_data(
        source=SourceConfig.of(data), source_fingerprint=fingerprint(data.path)
    )
    database = create_database(
        mails=mails, max_body_chars=data.max_body_chars, max_recipients=data.max_recipients
    )
    written = write_scenarios(database=database, writer=writer, replies=replies) if writer else None
    load_scenarios(
        database=database,
        scenarios=ScenarioConfig.of(data),
        scenarios_fingerprint=fingerprint(data.scenarios_path),
        written=written,
    )
