"""Train the agent. A step operator may run this step on a GPU node."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from zenml import ArtifactConfig, log_metadata
from zenml.enums import ArtifactType
from zenml.steps import BaseStep
from zenml.types import HTMLString

from steps.by_name import StepByName
from steps.materializers import FileMaterializer, scratch_folder
from steps.run_mirror import RunMirror
from training.run.run_log import STEP, Record, RunLog
from training.run.runner import run_training
from training.run.signals import Interrupted
from training.run.store import RunMismatch, fingerprint
from training.spec import RunSpec

log = logging.getLogger(__name__)


def train_agent(
    policy_spec: dict[str, Any], spec: RunSpec, run_folder: Path | None, artifacts: dict[str, Path]
) -> tuple[
    Annotated[Path, ArtifactConfig(name="adapter", artifact_type=ArtifactType.MODEL)],
    Annotated[Path, "trajectories"],
    Annotated[list[dict[str, Any]], "training_metrics"],
    Annotated[HTMLString, "training_report"],
]:
    """Start or continue a run.

    Args:
        run_folder: None if the step runs on another machine, whose disk does not last; the artifact
            store then keeps the run.
    """
    folder, save = run_folder or scratch_folder(), None
    if run_folder is None:
        save = _keep_in_artifact_store(spec, folder)
    data = {name: fingerprint(path) for name, path in artifacts.items()}
    facts = {"run": spec.name, "base_fingerprint": policy_spec["base_fingerprint"], "data": data}
    keep = spec.training.keep_checkpoints
    environment = spec.open_environment(artifacts)
    try:
        output = asyncio.run(run_training(spec, folder, environment, data, save))
    except RunMismatch:  # the folder's records are another run's
        raise
    except BaseException as error:
        # So that the checkpoints of a stopped run can be traced, too.
        stopped_by = "interrupted" if isinstance(error, Interrupted) else type(error).__name__
        _describe(facts | {"stopped_by": stopped_by}, RunLog(folder).records(), keep)
        raise
    finally:
        environment.close()
    result = output.result
    _describe(
        facts | {"stopped_by": result.stopped_by, "spent": result.spent}, result.records, keep
    )
    return output.adapter, output.trajectories, result.records, HTMLString(output.report)


TRAIN_AGENT = StepByName(
    train_agent,
    enable_cache=False,
    output_materializers={"adapter": FileMaterializer, "trajectories": FileMaterializer},
)


def __getattr__(attribute: str) -> BaseStep:
    return TRAIN_AGENT.find(attribute)


def _keep_in_artifact_store(spec: RunSpec, folder: Path) -> Callable[[int, Sequence[Path]], None]:
    mirror = RunMirror.of_run(spec.project, spec.name)
    if mirror.restore(folder):
        log.info("restored the run from %s", mirror.uri)
    return lambda step, files: mirror.save(folder, files, step)


def _describe(facts: dict[str, Any], records: Sequence[Record], keep: int) -> None:
    """Log the state of the run to its step and model version."""
    log_metadata(
        facts
        | {
            "step": records[-1][STEP] if records else 0,
            "success_first_step": records[0]["train/success"] if records else None,
            "success_last_step": records[-1]["train/success"] if records else None,
            "checkpoints": kept_checkpoints(records, keep),
        },
        infer_model=True,
    )


def kept_checkpoints(records: Sequence[Record], keep: int) -> dict[str, dict[str, float]]:
    """The training metrics of each kept checkpoint, by step."""
    shown = {"reward": "train/reward", "success": "train/success", "probs_corr": "loss/probs_corr"}
    return {
        str(record[STEP]): {name: record[key] for name, key in shown.items() if key in record}
        for record in records[-keep:]
    }
