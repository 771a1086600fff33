"""Read the mails of the configured source into one artifact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from zenml import log_metadata, step
from zenml.config.cache_policy import CachePolicy

from environment.email_search import prepare
from environment.email_search.prepare import SourceConfig
from steps.materializers import FileMaterializer, scratch_folder


@step(
    output_materializers={"mails": FileMaterializer},
    cache_policy=CachePolicy(
        source_dependencies=[
            "environment.email_search.prepare",
            "environment.email_search.sample.corpus",
            "environment.email_search.sample.facts",
            "environment.email_search.sample.names",
            "environment.email_search.sources.files",
            "environment.email_search.sources.hub",
            "environment.email_search.sources.rfc822",
        ]
    ),
)
def download_enron_data(source: SourceConfig, source_fingerprint: str) -> Annotated[Path, "mails"]:
    """
    Args:
        source_fingerprint: digest of a local source, so that changed mails are read again.
    """
    folder = scratch_folder()
    count = prepare.fetch_mails(source, folder)
    tally = json.loads((folder / prepare.TALLY).read_text())
    log_metadata(
        {"source": source.source, "mails": count, **tally},
        artifact_name="mails",
        infer_artifact=True,
    )
    return folder
