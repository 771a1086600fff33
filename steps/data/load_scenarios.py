"""Load, synthesise or generate the scenarios, and check them against the database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from zenml import log_metadata, step
from zenml.config.cache_policy import CachePolicy

from environment.email_search import prepare
from environment.email_search.prepare import ScenarioConfig
from steps.materializers import FileMaterializer, scratch_folder


@step(
    output_materializers={"scenarios": FileMaterializer},
    cache_policy=CachePolicy(
        source_dependencies=[
            "environment.email_search.scenarios",
            "environment.email_search.synthesis",
            "environment.email_search.sample.corpus",
            "environment.email_search.sample.facts",
            "environment.email_search.sample.names",
        ]
    ),
)
def load_scenarios(
    database: Path, scenarios: ScenarioConfig, scenarios_fingerprint: str
) -> Annotated[Path, "scenarios"]:
    """
    Args:
        scenarios_fingerprint: digest of a scenarios file, so that a changed one is read again.
    """
    path = scratch_folder() / "scenarios.jsonl"
    report = prepare.make_scenarios(scenarios, database, path)
    log_metadata(report.model_dump(), artifact_name="scenarios", infer_artifact=True)
    return path
