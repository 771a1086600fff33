"""Load, synthesise or generate the scenarios, and check them against the database; those that a
language model wrote come from the step before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from zenml import log_metadata, step
from zenml.config.cache_policy import CachePolicy

from environment.email_search import prepare
from environment.email_search.prepare import ScenarioConfig
from environment.email_search.scenarios import read_jsonl
from steps.data.write_scenarios import SCENARIOS, report_of
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
    database: Path,
    scenarios: ScenarioConfig,
    scenarios_fingerprint: str,
    written: Path | None = None,
) -> Annotated[Path, "scenarios"]:
    """
    Args:
        scenarios_fingerprint: digest of a scenarios file, so that a changed one is read again.
    """
    path = scratch_folder() / "scenarios.jsonl"
    of_llm = read_jsonl(written / SCENARIOS) if written else []
    report = prepare.make_scenarios(scenarios, database, path, of_llm).model_dump()
    if written:
        report["writer"] = report_of(written).model_dump(exclude_none=True)
    log_metadata(report, artifact_name="scenarios", infer_artifact=True)
    return path
