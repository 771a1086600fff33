"""Train the agent: the step that a step operator may send to a GPU."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from zenml import ArtifactConfig, log_metadata, step
from zenml.enums import ArtifactType
from zenml.types import HTMLString

from agent.judge import JudgeConfig
from backends.config import BackendConfig
from environment.base import StrictModel
from steps.materializers import FileMaterializer, scratch_folder
from steps.open_environment import open_environment
from steps.run_mirror import RunMirror
from training.config import RolloutConfig, TrainingConfig
from training.run.run_log import STEP, Record, RunLog
from training.run.runner import RunSpec, run_training
from training.run.signals import Interrupted
from training.run.store import RunMismatch, fingerprint

log = logging.getLogger(__name__)


class TrainSettings(StrictModel):
    """The settings of a run, as a step parameter.

    Args:
        run_folder: None where the step runs on another machine, whose disk does not last: the run
            is then kept in the artifact store.
    """

    project: str
    run_name: str
    run_folder: Path | None
    seed: int
    environment: str
    environment_settings: dict[str, Any]
    backend: BackendConfig
    training: TrainingConfig
    rollout: RolloutConfig
    judge: JudgeConfig = JudgeConfig()


@step(
    enable_cache=False,
    output_materializers={"adapter": FileMaterializer, "trajectories": FileMaterializer},
)
def train_agent(
    policy_spec: dict[str, Any],
    settings: TrainSettings,
    scenarios: Path | None = None,
    database: Path | None = None,
) -> tuple[
    Annotated[Path, ArtifactConfig(name="adapter", artifact_type=ArtifactType.MODEL)],
    Annotated[Path, "trajectories"],
    Annotated[list[dict[str, Any]], "training_metrics"],
    Annotated[HTMLString, "training_report"],
]:
    """LangGraph rollouts, rewards, GRPO; continues where an earlier attempt of the run stopped."""
    artifacts = {"scenarios": scenarios, "database": database}
    environment = open_environment(
        settings.environment,
        settings.environment_settings,
        settings.rollout.max_turns,
        artifacts,
    )
    folder, save = settings.run_folder, None
    if folder is None:
        folder = scratch_folder()
        save = _keep_in_artifact_store(settings, folder)
    spec = RunSpec(
        project=settings.project,
        name=settings.run_name,
        folder=folder,
        seed=settings.seed,
        backend=settings.backend,
        training=settings.training,
        rollout=settings.rollout,
        judge=settings.judge,
        environment=settings.environment_settings,
        data={name: fingerprint(path) for name, path in artifacts.items() if path},
    )
    base = policy_spec["base_fingerprint"]
    try:
        output = asyncio.run(run_training(spec, environment, save))
    except RunMismatch:  # what the folder holds is another run's
        raise
    except BaseException as error:
        # The checkpoints that a stopped run leaves can be traced as well.
        stopped_by = "interrupted" if isinstance(error, Interrupted) else type(error).__name__
        _describe(spec, base, RunLog(folder).records(), {"stopped_by": stopped_by})
        raise
    finally:
        environment.close()
    result = output.result
    records = result.records
    _describe(spec, base, records, {"stopped_by": result.stopped_by, "spent": result.spent})
    return output.adapter, output.trajectories, records, HTMLString(output.report)


def _keep_in_artifact_store(
    settings: TrainSettings, folder: Path
) -> Callable[[int, Sequence[Path]], None]:
    mirror = RunMirror.of_run(settings.project, settings.run_name)
    if mirror.restore(folder):
        log.info("restored the run from %s", mirror.uri)
    return lambda step, files: mirror.save(folder, files, step)


def _describe(
    spec: RunSpec, base_fingerprint: str, records: Sequence[Record], end: dict[str, Any]
) -> None:
    """Tell ZenML, as metadata of the step and of its model version, what the run got to."""
    log_metadata(
        end
        | {
            "run": spec.name,
            "step": records[-1][STEP] if records else 0,
            "base_fingerprint": base_fingerprint,
            "data": spec.data,
            "success_first_step": records[0]["train/success"] if records else None,
            "success_last_step": records[-1]["train/success"] if records else None,
            "checkpoints": kept_checkpoints(records, spec.training.keep_checkpoints),
        },
        infer_model=True,
    )


def kept_checkpoints(records: Sequence[Record], keep: int) -> dict[str, dict[str, float]]:
    """Of each checkpoint that is kept, by step: how the policy did on the way to it."""
    shown = {"reward": "train/reward", "success": "train/success", "probs_corr": "loss/probs_corr"}
    return {
        str(record[STEP]): {name: record[key] for name, key in shown.items() if key in record}
        for record in records[-keep:]
    }
