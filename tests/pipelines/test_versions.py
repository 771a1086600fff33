"""A second version after the first: continued runs, the incumbent, promotion, what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest
from zenml import Model, pipeline, step
from zenml.client import Client

from backends.config import BackendConfig
from backends.errors import BackendError
from pipelines import launch, summary_table
from pipelines.config import load_config
from pipelines.launch import Run
from steps.evaluation.compute_metrics import compute_metrics
from steps.evaluation.load_trained_model import load_trained_model
from steps.evaluation.promote import promote
from steps.materializers import FileMaterializer, scratch_folder
from steps.model_versions import MissingArtifact, production_version
from tests.pipelines.commands import ROOT
from tests.pipelines.conftest import SMALL, Finished
from tests.training.rows import rows
from training.evaluation.compare import write_rows
from training.loop.loop import EmptySteps
from training.run.store import RunMismatch

MODEL = "email-agent"


def run_of(folder: Path, *values: str, name: str = "second") -> Run:
    config = load_config([ROOT / "configs" / "laptop.yaml"], [*SMALL, *values])
    return Run(config, "train", name, 0, folder)


@step(enable_cache=False, output_materializers={"rows": FileMaterializer})
def write_outcomes(outcomes: dict[str, str]) -> Annotated[Path, "rows"]:
    written = [
        row
        for policy, text in outcomes.items()
        for mode in ("greedy", "sampled")
        for row in rows(policy, text, mode)  # type: ignore[arg-type]
    ]
    return write_rows(written, scratch_folder() / "rows.parquet")


@pipeline(enable_cache=False)
def verdict(outcomes: dict[str, str], trained_model: dict[str, Any]) -> None:
    """The end of the evaluation pipeline, on outcomes that are given."""
    _, decision, _ = compute_metrics(
        rows=write_outcomes(outcomes), trained_model=trained_model, confidence=0.95
    )
    promote(decision=decision)


def decide(version: int, **outcomes: str) -> str | None:
    """Let outcomes (``+`` is a success) decide on a version; returns its stage then."""
    record = {"base_model": "b", "run": "r", "step": 1, "seed": 0}
    model = Model(name=MODEL, version=version)
    verdict.with_options(model=model)(outcomes=outcomes, trained_model=record)
    return stage(version)


def stage(version: int) -> str | None:
    return Client().get_model_version(MODEL, version).stage


@pytest.fixture(scope="module")
def second(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A second version, on the same data as the first."""
    run = run_of(tmp_path_factory.mktemp("second"))
    launch.run_data(run, use_cache=True)
    launch.run_train(run)
    return run


def test_another_run_makes_another_version(second: Run) -> None:
    assert second.summary["checkpoint"] == {"model": MODEL, "version": 2, "step": 2}
    assert (second.folder / "report.html").exists()


def test_the_same_settings_give_the_same_policy(second: Run, finished: Finished) -> None:
    ours, theirs = second.summary["train"], finished.summary["train"]
    for key in ("trajectories", "trained", "dropped", "reward_first", "success_first"):
        assert ours[key] == theirs[key]


@pytest.fixture(scope="module")
def stages(second: Run) -> list[str | None]:
    """The first version's stage before and after a doubtful gain, and after a sure one."""
    return [
        stage(1),
        decide(1, base="+-+-+-+-", trained="+-+-+--+"),
        decide(1, base="--------", trained="++++++++"),
    ]


def test_only_a_sure_gain_moves_a_version_to_production(stages: list[str | None]) -> None:
    assert stages[1] == stages[0]
    assert stages[2] == "production"
    version = production_version(MODEL)
    assert version is not None
    assert version.number == 1
    assert "promoted_at" in version.run_metadata
    assert version.run_metadata["decision"].startswith("promoted: +1.000")


def test_a_version_no_better_than_the_incumbent_stays_where_it_is(stages: list[str | None]) -> None:
    assert decide(2, base="--------", trained="++++++++", incumbent="++++++++") is None
    assert stage(1) == "production"
    metadata = Client().get_model_version(MODEL, 2).run_metadata
    assert metadata["decision"].startswith("not promoted: +0.000 sampled success against the inc")


@pytest.fixture(scope="module")
def evaluated(second: Run, stages: list[str | None]) -> Run:
    """The second version, evaluated while the first is in production."""
    run = run_of(second.folder, "evaluation.confidence=0.9", "evaluation.scenarios=3")
    launch.run_eval(run, None)
    return run


def test_the_version_in_production_is_evaluated_as_the_incumbent(evaluated: Run) -> None:
    summary = evaluated.summary["eval"]
    assert summary["differences"].keys() == {"base", "incumbent"}
    assert summary["incumbent"].keys() == {"sampled", "greedy"}
    assert evaluated.summary["checkpoint"]["version"] == 2
    runs = Client().list_pipeline_runs(pipeline="evaluation", sort_by="desc:created", size=1)
    incumbent = runs.items[0].steps["run_inference"].inputs["incumbent"][0]
    assert incumbent.id == launch.trained_version(MODEL, "1").get_artifact("adapter").id


def test_the_table_names_the_confidence_that_was_asked_for(evaluated: Run) -> None:
    summary = evaluated.summary | {"peak_rss_mib": 1.0}
    table = "\n".join(summary_table.lines(summary, evaluated.folder))
    assert "incumbent " in table
    assert "90% interval" in table
    assert "95% interval" not in table


def test_the_version_in_production_is_not_compared_with_itself(
    second: Run, stages: list[str | None]
) -> None:
    run = run_of(second.folder, "evaluation.scenarios=1")
    launch.run_eval(run, "1")
    assert run.summary["eval"]["differences"].keys() == {"base"}
    assert run.summary["checkpoint"]["version"] == 1


def test_a_promoted_version_archives_the_one_before(stages: list[str | None]) -> None:
    assert decide(2, base="--------", trained="++++++++", incumbent="--------") == "production"
    assert stage(1) == "archived"
    assert production_version(MODEL).number == 2  # type: ignore[union-attr]


def test_a_run_continues_under_its_name(second: Run) -> None:
    longer = run_of(second.folder, "training.max_steps=3")
    launch.run_train(longer)
    assert longer.summary["train"]["steps"] == 3
    assert longer.summary["checkpoint"]["step"] == 3


@pytest.mark.parametrize("change", ["training.learning_rate=0.5", "rollout.max_turns=5"])
def test_other_settings_under_the_same_name_are_refused(second: Run, change: str) -> None:
    with pytest.raises(RunMismatch, match=change.partition("=")[0]):
        launch.run_train(run_of(second.folder, change))


def test_another_view_of_the_environment_is_another_run(second: Run) -> None:
    with pytest.raises(RunMismatch, match="max_hits"):
        launch.run_train(run_of(second.folder, "environment.max_hits=2"))


def test_nothing_to_train_on_is_raised_as_it_is(second: Run, tmp_path: Path) -> None:
    hasty = ("rollout.timeout_s=0.001", "training.empty_steps_limit=1")
    with pytest.raises(EmptySteps, match="18 timeout"):
        launch.run_train(run_of(tmp_path, *hasty, name="empty"))


@pytest.mark.parametrize(
    ("model", "version", "message"),
    [
        ("nobody", None, "no trained version of nobody yet: run python run.py --pipeline train"),
        ("nobody", "1", "there is no version 1 of nobody"),
        (MODEL, "99", f"there is no version 99 of {MODEL}"),
        (MODEL, "empty", f"version empty of {MODEL} has no adapter"),
    ],
)
def test_a_version_that_is_not_there_is_told(
    second: Run, model: str, version: str | None, message: str
) -> None:
    client = Client()
    if version == "empty":
        client.create_model_version(client.get_model(model).id, name="empty")
    with pytest.raises(MissingArtifact, match=message):
        launch.trained_version(model, version)
    assert launch.trained_version(MODEL, None).number >= 2
    assert production_version("nobody") is None


def test_an_adapter_of_another_base_is_refused(second: Run) -> None:
    adapter = launch.trained_version(MODEL, "2").get_artifact("adapter").load()
    load = load_trained_model.entrypoint
    backend = BackendConfig(base_model="models/pocket")
    assert load(adapter, backend)["run"] == "second"
    with pytest.raises(BackendError, match=r"trained on models/pocket \(\w+\), .* has other/base"):
        load(adapter, backend.model_copy(update={"base_model": "other/base"}))
