"""Rescore stored rollouts with the current reward."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from environment.base import Environment, Scenario, StopReason, UserError
from training.evaluation.compare import read_rows
from training.evaluation.evaluate import EvaluationRow


class RescoreError(UserError):
    """Stored rollouts that cannot be scored."""


def read_stored(path: Path) -> list[EvaluationRow]:
    """
    Raises:
        RescoreError: it is not the file of an evaluation, or has no rollouts.
    """
    try:
        rows = read_rows(path)
    except (OSError, KeyError, ValidationError, ValueError) as error:
        raise RescoreError(f"{path} holds no evaluation: {error}") from error
    if not all(row.scenario and row.outcome for row in rows):
        raise RescoreError(
            f"{path} holds the results of an evaluation, not its rollouts: evaluate again"
        )
    return rows


def rescore(
    rows: Sequence[EvaluationRow], environment: Environment[Any, Any]
) -> list[EvaluationRow]:
    """Score the outcomes again, against the stored gold answers. Drops a judge's verdicts and errors,
    and keeps other errors.

    Raises:
        RescoreError: the outcomes are not this environment's.
    """
    known = [*environment.scenarios("test", 1), *environment.scenarios("train", 1)]
    if not known:
        raise RescoreError(
            "this environment has no scenario that shows the type of the stored ones"
        )
    scenarios = TypeAdapter(type(known[0]))
    outcomes = TypeAdapter(_outcome_type(environment, known[0]))
    rescored = []
    for row in rows:
        try:
            scenario = scenarios.validate_python(row.scenario)
            outcome = outcomes.validate_python(row.outcome)
        except ValidationError as error:
            raise RescoreError(
                f"scenario {row.scenario_id} was not stored by the environment "
                f"{environment.name} as it is now: {error.errors()[0]['msg']}"
            ) from error
        reward = environment.score(scenario, outcome)
        failed = "" if row.judge_error else row.error
        changes: dict[str, Any] = {
            "success": reward.success,
            "matched": reward.success,
            "reward": reward.value,
            "reason": failed or reward.reason,
            "metrics": dict(reward.metrics),
            "cites_source": reward.cites_source,
            "error": failed,
            "judged": None,
            "judge_error": "",
        }
        rescored.append(row.model_copy(update=changes))
    return rescored


def _outcome_type(environment: Environment[Any, Any], scenario: Scenario) -> type[Any]:
    """Taken from a session, since the contract does not name it."""
    with closing(environment.session(scenario)) as session:
        return type(session.outcome(StopReason.ERROR, 0))
