"""Run pipelines for a configuration and collect their results in the run folder."""

from __future__ import annotations

import json
import logging
import resource
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from environment.files import write_atomically
from environment.registry import environment_package
from pipelines.config import ConfigError, ProjectConfig
from pipelines.data import data_pipeline
from pipelines.evaluation_results import keep_evaluation
from pipelines.placement import runs_here, zenml_options
from pipelines.pods import watched
from steps.model_versions import (
    adapter_of,
    data_artifacts,
    model_version,
    production_version,
    trained_version,
)
from training.loop.judging import judge_summary
from training.run.run_log import first_and_last
from training.spec import EvaluationSpec, RunSpec

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Run:
    """One invocation of the command line: its settings, its folder, its summary so far."""

    config: ProjectConfig
    pipeline: str
    name: str
    seed: int
    folder: Path
    summary: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.summary = {
            "pipeline": self.pipeline,
            "status": "running",
            "seed": self.seed,
            "seconds": dict.fromkeys(("data", "train", "eval")),
            **dict.fromkeys(("peak_rss_mib", "data", "train", "eval", "promoted", "checkpoint")),
        }

    def write_summary(self, status: str) -> None:
        self.summary["status"] = status
        self.summary["peak_rss_mib"] = round(_peak_rss_mib(), 1)
        text = json.dumps(self.summary, indent=2) + "\n"
        write_atomically(self.folder / "summary.json", text)


def _peak_rss_mib() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    own, children = (
        resource.getrusage(who).ru_maxrss * unit
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    status = Path("/proc/self/status")
    if status.exists():
        # On Linux, ru_maxrss includes the memory of the process before exec, that is its parent's.
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        own = int(lines["VmHWM"].split()[0]) * 1024
    return max(own, children) / 2**20


def run_data(run: Run, use_cache: bool) -> None:
    """Raises ``ConfigError`` if the environment needs no data."""
    name = run.config.environment.name
    package = environment_package(name)
    if not package.artifacts:
        raise ConfigError(f"environment {name} needs no data: continue with --pipeline train")
    started = time.monotonic()
    options = {"enable_cache": use_cache, **zenml_options(run.config, "data")}
    pipeline_run = data_pipeline(config_with_seed(run), run.folder.parent).with_options(**options)()
    run.summary["seconds"]["data"] = round(time.monotonic() - started, 1)
    steps = pipeline_run.steps.values()
    for step in steps:
        if step.status == "cached":
            log.info("  ✓ %s cached", step.name)
    run.summary["data"] = {
        # Without what ZenML measures of every artifact.
        artifact: {k: v for k, v in versions[0].run_metadata.items() if k != "storage_size"}
        for step in steps
        for artifact, versions in step.outputs.items()
        if artifact in package.artifacts
    } | {"cached": all(step.status == "cached" for step in steps)}


def config_with_seed(run: Run) -> ProjectConfig:
    """The configuration, whose data seed defaults to the run's seed."""
    data = run.config.data
    if "seed" in type(data).model_fields and "seed" not in data.model_fields_set:
        return run.config.model_copy(update={"data": data.model_copy(update={"seed": run.seed})})
    return run.config


def run_train(run: Run) -> None:
    from zenml import Model

    from pipelines.training import training_pipeline

    config = run.config
    spec = RunSpec(**_spec_fields(run), name=run.name, training=config.training)
    run_folder = run.folder if runs_here(config, "train_agent") else None
    data = data_artifacts(config.environment.name)
    started = time.monotonic()
    options = {"model": Model(name=config.model_name), **zenml_options(config, "train")}
    with watched(config, "training", "train_agent"):
        pipeline_run = training_pipeline(spec, run_folder, data).with_options(**options)()
    run.summary["seconds"]["train"] = round(time.monotonic() - started, 1)
    step = pipeline_run.steps["train_agent"]
    records = _output(step, "training_metrics").load()
    if run_folder is None:
        lines = "".join(json.dumps(record) + "\n" for record in records)
        write_atomically(run.folder / "metrics.jsonl", lines)
    version = pipeline_run.model_version
    ended = {key: version.run_metadata[key] for key in ("stopped_by", "spent")}
    run.summary["train"] = training_summary(records) | ended
    run.summary["checkpoint"] = {
        "model": version.model.name,
        "version": version.number,
        "step": len(records),
    }
    report = str(_output(step, "training_report").load())
    (run.folder / "report.html").write_text(report, encoding="utf-8")


def training_summary(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    dropped: Counter[str] = Counter()
    for record in records:
        dropped.update(record["data/dropped"])
    correlations = [r["loss/probs_corr"] for r in records if "loss/probs_corr" in r]
    reward, success = (first_and_last(records, f"train/{key}") for key in ("reward", "success"))
    return {
        "steps": len(records),
        "trajectories": sum(r["data/step_num_trajectories"] for r in records),
        "trained": sum(r["data/step_trained_trajectories"] for r in records),
        "dropped": dict(dropped.most_common()),
        "probs_corr_min": min(correlations, default=None),
        "judge": judge_summary(records),
        "reward_first": reward[0],
        "reward_last": reward[1],
        "success_first": success[0],
        "success_last": success[1],
    }


def run_eval(run: Run, version: str | None) -> None:
    from zenml import Model

    from pipelines.evaluation import evaluation_pipeline

    config = run.config
    data = data_artifacts(config.environment.name)
    trained = trained_version(config.model_name, version)
    incumbent = production_version(config.model_name)
    if incumbent is not None and incumbent.id == trained.id:
        incumbent = None
    others = {
        entry.name: int(model_version(config.model_name, str(entry.version)).number)
        for entry in config.evaluation.models
        if entry.version is not None
    }
    started = time.monotonic()
    model = Model(name=config.model_name, version=trained.number)
    options = zenml_options(config, "eval")
    with watched(config, "evaluation", "run_inference"):
        pipeline_run = evaluation_pipeline(
            evaluation_spec(run, others),
            adapter_of(trained),
            adapter_of(incumbent) if incumbent is not None else None,
            data,
        ).with_options(model=model, **options)()
    run.summary["seconds"]["eval"] = round(time.monotonic() - started, 1)
    decision = keep_evaluation(
        run.folder, run.summary, pipeline_run, "run_inference", "evaluation_rows"
    )
    run.summary["promoted"] = decision["promote"]
    record = _output(pipeline_run.steps["load_trained_model"], "trained_model").load()
    run.summary["checkpoint"] = {
        "model": config.model_name,
        "version": trained.number,
        "step": record["step"],
        "run": record["run"],
    }


def evaluation_spec(run: Run, versions: dict[str, int]) -> EvaluationSpec:
    config = run.config
    return EvaluationSpec(
        **_spec_fields(run),
        model_name=config.model_name,
        evaluation=config.evaluation,
        versions=versions,
    )


def _spec_fields(run: Run) -> dict[str, Any]:
    config = run.config
    return {
        "project": config.project,
        "seed": run.seed,
        "environment": config.environment.model_dump(mode="json"),
        "backend": config.backend,
        "rollout": config.rollout,
        "judge": config.judge,
    }


def _output(step: Any, name: str) -> Any:
    return step.outputs[name][0]
