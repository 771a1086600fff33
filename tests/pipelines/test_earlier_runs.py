"""What earlier runs left in ZenML is taken up: the right environment's data, and versions that were
trained before a run was described by a ``RunSpec``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import pytest
from zenml import ArtifactConfig, pipeline, step
from zenml.client import Client
from zenml.enums import ArtifactType

from agent.judge import JudgeConfig
from backends import BackendConfig
from environment.base import StrictModel
from pipelines import launch
from pipelines.config import load_config
from pipelines.launch import Run
from steps.inference.load_agent import training_spec
from steps.materializers import FileMaterializer, scratch_folder
from steps.model_versions import MissingArtifact, data_artifacts
from training.config import RolloutConfig, TrainingConfig

INBOXES = ("data.train_inboxes=2", "data.test_inboxes=2", "data.mails_per_inbox=60")


def prepare(folder: Path, *values: str) -> dict[str, Any]:
    run = Run(load_config([], values), "data", "data", 0, folder / "run")
    launch.run_data(run, use_cache=True)
    return run.summary["data"]


def loaded(environment: str) -> dict[str, Path]:
    return {name: made.load() for name, made in data_artifacts(environment).items()}


def test_the_newest_data_is_that_of_the_environment_that_is_meant(tmp_path: Path) -> None:
    examples = tmp_path / "sums.jsonl"
    lines = [json.dumps({"prompt": f"{n} + 1 =", "answer": str(n + 1)}) for n in range(9)]
    examples.write_text("\n".join(lines))
    task = ("environment.name=prompt_task", f"data.path={examples}")

    prepare(tmp_path, *INBOXES)
    mails = loaded("email_search")
    assert mails.keys() == {"database", "scenarios"}
    prepare(tmp_path, *task)
    assert loaded("prompt_task").keys() == {"scenarios"}
    assert loaded("prompt_task")["scenarios"].name == "examples.jsonl"
    assert loaded("email_search") == mails, "though another environment's is newer"

    examples.write_text("\n".join(lines[:5]))
    prepare(tmp_path, *task)
    assert len(loaded("prompt_task")["scenarios"].read_text().splitlines()) == 5
    with pytest.raises(MissingArtifact, match="no data of code yet"):
        data_artifacts("code")


class TrainSettings(StrictModel):
    """The parameter of the training step, as it was until 2026."""

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


OLD = TrainSettings(
    project="art-rl",
    run_name="old",
    run_folder=Path("runs/old"),
    seed=3,
    environment="email_search",
    environment_settings={"name": "email_search", "max_hits": 4},
    backend=BackendConfig(base_model="models/pocket"),
    training=TrainingConfig(max_steps=7),
    rollout=RolloutConfig(max_turns=5),
    judge=JudgeConfig(model="openai/judge"),
)


@step(name="train_agent", enable_cache=False, output_materializers={"adapter": FileMaterializer})
def train_as_before(
    settings: TrainSettings,
) -> Annotated[Path, ArtifactConfig(name="adapter", artifact_type=ArtifactType.MODEL)]:
    file = scratch_folder() / "adapter.txt"
    file.write_text(settings.run_name)
    return file


@pytest.mark.parametrize(
    "changes", [{}, {"run_folder": None}, {"environment_settings": {"max_hits": 4}}], ids=str
)
def test_a_version_from_before_there_was_a_spec_can_be_loaded(changes: dict[str, Any]) -> None:
    @pipeline(name="training_as_before", enable_cache=False)
    def training() -> None:
        train_as_before(settings=OLD.model_copy(update=changes))

    made = training()
    (adapter,) = Client().get_pipeline_run(made.id).steps["train_agent"].outputs["adapter"]
    spec = training_spec(adapter)
    assert (spec.project, spec.name, spec.seed) == ("art-rl", "old", 3)
    assert (spec.environment["name"], spec.environment["max_hits"]) == ("email_search", 4)
    for section in ("backend", "training", "rollout", "judge"):
        assert getattr(spec, section) == getattr(OLD, section)
