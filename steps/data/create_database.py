"""Build the mail database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from zenml import log_metadata, step
from zenml.config.cache_policy import CachePolicy

from environment.email_search import prepare
from steps.materializers import FileMaterializer, scratch_folder


@step(
    output_materializers={"database": FileMaterializer},
    cache_policy=CachePolicy(source_dependencies=["environment.email_search.email_db"]),
)
def create_database(
    mails: Path, max_body_chars: int, max_recipients: int
) -> Annotated[Path, "database"]:
    path = scratch_folder() / "mails.db"
    report = prepare.build(mails, path, max_body_chars, max_recipients)
    log_metadata(report.model_dump(), artifact_name="database", infer_artifact=True)
    return path
