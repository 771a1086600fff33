"""Run base, trained policy, incumbent and other models on the same held-out scenarios."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

from zenml.steps import BaseStep

from steps.by_name import StepByName
from steps.evaluation.load_trained_model import check_adapter
from steps.materializers import FileMaterializer, scratch_folder
from steps.model_versions import adapter_of, model_version
from training.evaluation.compare import run_policies, write_rows
from training.spec import EvaluationSpec


def run_inference(
    trained_model: dict[str, Any],
    adapter: Path,
    spec: EvaluationSpec,
    artifacts: dict[str, Path],
    incumbent: Path | None = None,
) -> Annotated[Path, "evaluation_rows"]:
    """One row per rollout: greedy and sampled for our policies, as configured for hosted models.

    Raises:
        BackendError: a version was trained on another base model.
    """
    adapters: dict[str, Path | None] = {"base": None, "trained": adapter}
    if incumbent is not None:
        adapters["incumbent"] = incumbent
    for label, number in spec.versions.items():
        other = adapter_of(model_version(spec.model_name, str(number))).load()
        check_adapter(other, spec.backend)
        adapters[label] = other
    with closing(spec.open_environment(artifacts)) as environment:
        settings = spec.backend, spec.rollout, spec.evaluation, spec.seed
        rows = asyncio.run(run_policies(adapters, environment, *settings, scratch_folder()))
        facts = trained_model | {"meanings": environment.meanings}
    return write_rows(rows, scratch_folder() / "rows.parquet", facts)


RUN_INFERENCE = StepByName(
    run_inference, enable_cache=False, output_materializers={"evaluation_rows": FileMaterializer}
)


def __getattr__(attribute: str) -> BaseStep:
    return RUN_INFERENCE.find(attribute)
