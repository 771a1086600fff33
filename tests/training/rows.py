"""Rows of an evaluation that never took place."""

from __future__ import annotations

from typing import Any

from training.evaluation import Comparison, EvaluationRow, Mode, compare


def row(
    policy: str, scenario: str, success: bool, mode: Mode = "sampled", **changes: Any
) -> EvaluationRow:
    fields: dict[str, Any] = {
        "policy": policy,
        "mode": mode,
        "scenario_id": scenario,
        "kind": "due",
        "cluster": scenario,
        "question": "When?",
        "gold": "May 3",
        "answer": "May 3" if success else None,
        "success": success,
        "reward": float(success),
        "reason": "right" if success else "gave_up",
        "turns": 3,
        "tokens": 300,
        "seconds": 0.5,
        "metrics": {"source_recall": float(success)},
    }
    return EvaluationRow(**fields | changes)


def rows(policy: str, outcomes: str, mode: Mode = "sampled") -> list[EvaluationRow]:
    """One row per character: ``+`` for a success."""
    return [row(policy, f"q{n}", outcome == "+", mode) for n, outcome in enumerate(outcomes)]


def comparison(**outcomes: str) -> Comparison:
    return compare([r for policy, text in outcomes.items() for r in rows(policy, text)], 0.95)
