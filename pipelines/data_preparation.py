"""Mails to a database and scenarios; every step cached."""

from __future__ import annotations

from zenml import pipeline
from zenml.enums import ExecutionMode

from environment.email_search.config import EmailDataConfig
from environment.email_search.prepare import ScenarioConfig, SourceConfig, fingerprint
from steps.data import create_database, download_enron_data, load_scenarios


@pipeline(name="data_preparation", enable_cache=True, execution_mode=ExecutionMode.FAIL_FAST)
def data_preparation_pipeline(data: EmailDataConfig) -> None:
    """Each step gets only the settings it depends on, so a changed one re-runs no more than that."""
    mails = download_enron_data(
        source=SourceConfig.of(data), source_fingerprint=fingerprint(data.path)
    )
    database = create_database(
        mails=mails, max_body_chars=data.max_body_chars, max_recipients=data.max_recipients
    )
    load_scenarios(
        database=database,
        scenarios=ScenarioConfig.of(data),
        scenarios_fingerprint=fingerprint(data.scenarios_path),
    )
