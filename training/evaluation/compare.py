"""Evaluate adapters of one base model, served one after the other, then hosted models."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from agent.hosted.ledger import Ledger
from agent.rollout import Rollout
from backends import BackendConfig, check_serves_adapters, install_adapter, open_policy
from environment.base import Environment
from training.config import EvaluationConfig, RolloutConfig
from training.evaluation.evaluate import MODES, EvaluationRow, evaluate_policy, rollouts_of_each
from training.evaluation.hosted import evaluate_hosted, mode_of
from training.run.progress import Progress

_PROJECT = "evaluation"


async def run_policies(
    adapters: Mapping[str, Path | None],
    environment: Environment[Any, Any],
    backend: BackendConfig,
    rollout: RolloutConfig,
    evaluation: EvaluationConfig,
    seed: int,
    workspace: Path,
) -> list[EvaluationRow]:
    """
    Args:
        adapters: by label; None is the base model.
        workspace: an empty folder.

    Raises:
        BackendError: the backend cannot serve adapters.
        ValueError: there is no held-out scenario.
    """
    check_serves_adapters(backend)
    scenarios = environment.scenarios("test", evaluation.scenarios, seed)
    if not scenarios:
        raise ValueError("there is no held-out scenario to evaluate on")
    modes = [*MODES * len(adapters), *(mode_of(entry) for entry in evaluation.hosted)]
    count = sum(rollouts_of_each(mode, evaluation.samples) for mode in modes)
    progress = Progress(count * len(scenarios), "eval", "rollout")
    rows: list[EvaluationRow] = []
    for label, adapter in adapters.items():
        if adapter is not None:
            install_adapter(adapter, workspace, _PROJECT, label)
        policy = await open_policy(backend, project=_PROJECT, name=label, path=workspace)
        async with policy:
            rows += await evaluate_policy(
                label,
                policy,
                environment,
                scenarios,
                rollout,
                seed,
                on_done=_watch(progress, label),
                usd_per_hour=evaluation.usd_per_hour,
                samples=evaluation.samples,
            )
    ledger = Ledger(evaluation.max_cost_usd)
    for entry in evaluation.hosted:
        rows += await evaluate_hosted(
            entry,
            environment,
            scenarios,
            rollout,
            ledger,
            on_done=_watch(progress, entry.name),
            samples=evaluation.samples,
        )
    progress.close()
    return rows


def _watch(progress: Progress, label: str) -> Callable[[Rollout], None]:
    solved: list[bool] = []

    def on_done(rollout: Rollout) -> None:
        solved.append(rollout.reward.success)
        progress.advance({"policy": label, "success": f"{sum(solved) / len(solved):.2f}"})

    return on_done


_AS_JSON = ("metrics", "scenario", "outcome", "messages")
_FACTS = b"evaluation"


def write_rows(
    rows: Iterable[EvaluationRow], path: Path, facts: Mapping[str, Any] | None = None
) -> Path:
    """Write rows to a Parquet file, with facts about the evaluation in its metadata."""
    records = []
    for row in rows:
        record = row.model_dump()
        records.append(record | {name: json.dumps(record[name]) for name in _AS_JSON})
    table = pa.Table.from_pylist(records)
    metadata = {_FACTS: json.dumps(dict(facts or {}))}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return path


def read_rows(path: Path) -> list[EvaluationRow]:
    return [
        EvaluationRow.model_validate(
            record | {name: json.loads(record[name]) for name in _AS_JSON if name in record}
        )
        for record in pq.read_table(path).to_pylist()
    ]


def read_facts(path: Path) -> dict[str, Any]:
    """The facts that ``write_rows`` stored with the rows."""
    metadata = pq.read_schema(path).metadata or {}
    return dict(json.loads(metadata.get(_FACTS, "{}")))
