"""Load the problems of the code environment, and run their own solutions to see that they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from zenml import log_metadata, step
from zenml.config.cache_policy import CachePolicy

from environment.code import prepare
from environment.code.config import CodeDataConfig, SandboxConfig
from steps.materializers import FileMaterializer, scratch_folder


@step(
    output_materializers={"scenarios": FileMaterializer},
    cache_policy=CachePolicy(
        source_dependencies=[
            "environment.code.assertions",
            "environment.code.driver",
            "environment.code.grader",
            "environment.code.models",
            "environment.code.prepare",
            "environment.code.sources",
            "environment.code.values",
        ]
    ),
)
def load_problems(
    data: CodeDataConfig, sandbox: SandboxConfig, source_fingerprint: str
) -> Annotated[Path, "scenarios"]:
    """
    Args:
        source_fingerprint: digest of a local source, so that changed problems are read again.
    """
    path = scratch_folder() / "problems.jsonl"
    report = prepare.make_problems(data, sandbox, path)
    log_metadata(
        {"source": data.source, **report.model_dump()},
        artifact_name="scenarios",
        infer_artifact=True,
    )
    return path
