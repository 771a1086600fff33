"""Evaluate several adapters of one base model, each served in its turn."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from agent.rollout import Rollout
from backends import BackendConfig, check_serves_adapters, install_adapter, open_policy
from environment.base import Environment
from training.config import EvaluationConfig, RolloutConfig
from training.evaluation import MODES, EvaluationRow, evaluate_policy
from training.progress import Progress

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
        adapters: what to evaluate, by label; None is the base model.
        workspace: an empty folder.

    Raises:
        BackendError: the backend cannot serve adapters.
        ValueError: there is no held-out scenario.
    """
    check_serves_adapters(backend)
    scenarios = environment.scenarios("test", evaluation.scenarios, seed)
    if not scenarios:
        raise ValueError("there is no held-out scenario to evaluate on")
    progress = Progress(len(adapters) * len(MODES) * len(scenarios), "eval", "rollout")
    rows: list[EvaluationRow] = []
    for label, adapter in adapters.items():
        if adapter is not None:
            install_adapter(adapter, workspace, _PROJECT, label)
        policy = await open_policy(backend, project=_PROJECT, name=label, path=workspace)
        solved: list[bool] = []

        def on_done(rollout_: Rollout, label: str = label, solved: list[bool] = solved) -> None:
            solved.append(rollout_.reward.success)
            progress.advance({"policy": label, "success": f"{sum(solved) / len(solved):.2f}"})

        async with policy:
            rows += await evaluate_policy(
                label, policy, environment, scenarios, rollout, seed, on_done=on_done
            )
    progress.close()
    return rows


def write_rows(rows: Iterable[EvaluationRow], path: Path) -> Path:
    records = [row.model_dump() | {"metrics": json.dumps(row.metrics)} for row in rows]
    pq.write_table(pa.Table.from_pylist(records), path)
    return path


def read_rows(path: Path) -> list[EvaluationRow]:
    return [
        EvaluationRow.model_validate(record | {"metrics": json.loads(record["metrics"])})
        for record in pq.read_table(path).to_pylist()
    ]
