"""What a run of all pipelines leaves in ZenML."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from zenml.client import Client
from zenml.enums import ArtifactType, VisualizationType

from pipelines import launch
from tests.pipelines.conftest import Finished
from training.evaluation.compare import read_rows
from training.run.store import fingerprint, read_policy_record

OUTPUTS = {
    "data_preparation": {
        "download_enron_data": {"mails"},
        "create_database": {"database"},
        "load_scenarios": {"scenarios"},
    },
    "training": {
        "setup_art_model": {"policy_spec"},
        "train_agent": {"adapter", "trajectories", "training_metrics", "training_report"},
    },
    "evaluation": {
        "load_trained_model": {"trained_model"},
        "run_inference": {"evaluation_rows"},
        "compute_metrics": {"evaluation_metrics", "decision", "evaluation_report"},
        "promote": {"promoted"},
        "describe_model": {"model_card"},
    },
}


@pytest.fixture(scope="module")
def version(finished: Finished) -> Any:
    return Client().get_model_version("email-agent", finished.summary["checkpoint"]["version"])


@pytest.fixture(scope="module")
def runs(version: Any) -> Mapping[str, Any]:
    """The newest runs of the version's pipelines, and the data run whose artifacts they took."""
    client = Client()
    of_version = client.list_pipeline_runs(model_version_id=version.id, sort_by="asc:created")
    newest = {run.pipeline.name: run for run in of_version.items}
    database = newest["training"].steps["train_agent"].inputs["database"][0]
    newest["data_preparation"] = client.get_pipeline_run(database.run.id)
    return newest


def output(run: Any, step: str, name: str) -> Any:
    return run.steps[step].outputs[name][0]


@pytest.mark.parametrize("pipeline", OUTPUTS)
def test_steps_and_artifacts_have_their_names(pipeline: str, runs: Mapping[str, Any]) -> None:
    run = runs[pipeline]
    assert run.status == "completed"
    assert {name: set(step.outputs) for name, step in run.steps.items()} == OUTPUTS[pipeline]


def test_an_evaluated_version_leads_back_to_the_mails(
    version: Any, runs: Mapping[str, Any]
) -> None:
    adapter = version.get_artifact("adapter")
    training = Client().get_pipeline_run(adapter.run.id)
    assert training.id == runs["training"].id
    inputs = training.steps["train_agent"].inputs
    data = runs["data_preparation"]
    assert inputs["database"][0].id == output(data, "create_database", "database").id
    assert inputs["scenarios"][0].id == output(data, "load_scenarios", "scenarios").id
    mails = data.steps["create_database"].inputs["mails"][0]
    assert mails.id == output(data, "download_enron_data", "mails").id


def test_an_evaluation_takes_the_versions_adapter_and_the_same_data(
    version: Any, runs: Mapping[str, Any]
) -> None:
    inputs = runs["evaluation"].steps["run_inference"].inputs
    assert inputs["adapter"][0].id == version.get_artifact("adapter").id
    trained = runs["training"].steps["train_agent"].inputs
    for name in ("database", "scenarios"):
        assert inputs[name][0].id == trained[name][0].id
    assert "incumbent" not in inputs


def test_the_adapter_knows_the_data_it_was_trained_on(
    version: Any, runs: Mapping[str, Any]
) -> None:
    adapter = version.get_artifact("adapter")
    assert adapter.type == ArtifactType.MODEL
    record = read_policy_record(adapter.load())
    inputs = runs["training"].steps["train_agent"].inputs
    assert record.data == {
        name: fingerprint(inputs[name][0].load()) for name in ("database", "scenarios")
    }
    assert (record.run, record.step) == ("first", 2)


def test_a_version_carries_its_origin_and_its_figures(version: Any, finished: Finished) -> None:
    metadata, summary = version.run_metadata, finished.summary
    assert (metadata["run"], metadata["step"], metadata["stopped_by"]) == ("first", 2, "max_steps")
    assert metadata["base_model"] == "models/pocket"
    assert metadata["data"].keys() == {"database", "scenarios"}
    assert metadata["evaluation"]["base"] == summary["eval"]["base"]
    assert metadata["evaluation"]["trained"] == summary["eval"]["trained"]
    assert metadata["gain_over_base"] == summary["eval"]["difference"]
    assert metadata["decision"] == summary["eval"]["decision"]
    # Tests of promotion may have archived it since.
    assert version.stage in ("production" if summary["promoted"] else None, "archived")


def test_the_decision_is_an_artifact(runs: Mapping[str, Any], finished: Finished) -> None:
    decision = output(runs["evaluation"], "compute_metrics", "decision").load()
    assert decision == {
        "promote": finished.summary["promoted"],
        "reason": finished.summary["eval"]["decision"],
    }
    promoted = output(runs["evaluation"], "promote", "promoted").load()
    assert promoted is finished.summary["promoted"]


def test_the_data_artifacts_carry_their_counts(runs: Mapping[str, Any], finished: Finished) -> None:
    data = finished.summary["data"]
    assert data["cached"] is False
    for step, name in (("create_database", "database"), ("load_scenarios", "scenarios")):
        metadata = output(runs["data_preparation"], step, name).run_metadata
        assert {k: v for k, v in metadata.items() if k != "storage_size"} == data[name]
    mails = output(runs["data_preparation"], "download_enron_data", "mails").run_metadata
    assert mails["mails"] == data["database"]["stored"] == 240


@pytest.mark.parametrize(
    ("pipeline", "step", "name", "file"),
    [
        ("training", "train_agent", "training_report", "report.html"),
        ("evaluation", "compute_metrics", "evaluation_report", "evaluation.html"),
    ],
)
def test_the_reports_can_be_seen_in_the_dashboard(
    runs: Mapping[str, Any], finished: Finished, pipeline: str, step: str, name: str, file: str
) -> None:
    report = output(runs[pipeline], step, name)
    assert [visualization.type for visualization in report.visualizations] == [
        VisualizationType.HTML
    ]
    assert str(report.load()) == (finished.folder / file).read_text()


def test_the_models_page_names_the_version(
    runs: Mapping[str, Any], version: Any, finished: Finished
) -> None:
    card = output(runs["evaluation"], "describe_model", "model_card")
    assert [visualization.type for visualization in card.visualizations] == [VisualizationType.HTML]
    text = unescape(str(card.load()))
    assert f"Where version {version.number} comes from" in text
    assert finished.summary["eval"]["decision"] in text


def test_rows_and_records_can_be_loaded(runs: Mapping[str, Any], finished: Finished) -> None:
    rows = read_rows(output(runs["evaluation"], "run_inference", "evaluation_rows").load())
    assert len(rows) == 2 * 2 * 4
    records = output(runs["training"], "train_agent", "training_metrics").load()
    summary = launch.training_summary(records) | {"stopped_by": "max_steps"}
    assert summary.items() <= finished.summary["train"].items()
    trajectories: Path = output(runs["training"], "train_agent", "trajectories").load()
    assert len(list(trajectories.iterdir())) == 2


def test_a_version_tells_of_every_checkpoint_that_is_kept(version: Any, finished: Finished) -> None:
    lines = (finished.folder / "metrics.jsonl").read_text().splitlines()
    records = {record["training_step"]: record for record in map(json.loads, lines)}
    kept = sorted((finished.folder / "art").rglob("checkpoints/*"))
    assert [int(path.name) for path in kept] == [1, 2]
    assert version.run_metadata["checkpoints"] == {
        str(step): {
            "reward": record["train/reward"],
            "success": record["train/success"],
            "probs_corr": pytest.approx(record["loss/probs_corr"]),
        }
        for step, record in records.items()
    }


def test_a_version_tells_what_its_training_used(version: Any, finished: Finished) -> None:
    spent = version.run_metadata["spent"]
    assert spent.keys() == {"minutes", "gpu_hours", "cost_usd"}
    assert spent["minutes"] > 0
    assert finished.summary["train"]["spent"] == spent
