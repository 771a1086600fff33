"""Load the examples of the prompt task."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from zenml import log_metadata, step
from zenml.config.cache_policy import CachePolicy

from environment.prompt_task import examples
from environment.prompt_task.config import PromptTaskDataConfig
from steps.materializers import FileMaterializer, scratch_folder


@step(
    output_materializers={"scenarios": FileMaterializer},
    cache_policy=CachePolicy(source_dependencies=["environment.prompt_task.examples"]),
)
def load_examples(
    data: PromptTaskDataConfig, held_out_share: float, source_fingerprint: str
) -> Annotated[Path, "scenarios"]:
    """
    Args:
        held_out_share: for what is told of the artifact.
        source_fingerprint: digest of the file, so that changed examples are read again.
    """
    path = scratch_folder() / "examples.jsonl"
    report = examples.make_examples(data.path, path, held_out_share)
    log_metadata(report.model_dump(), artifact_name="scenarios", infer_artifact=True)
    return path
