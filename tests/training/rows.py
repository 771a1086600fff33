"""Rows of an evaluation that never took place."""

from __future__ import annotations

from typing import Any

from training.evaluation.evaluate import EvaluationRow, Mode
from training.evaluation.summaries import Comparison, compare


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
        "cites_source": success,
    }
    return EvaluationRow(**fields | changes)


def rows(policy: str, outcomes: str, mode: Mode = "sampled") -> list[EvaluationRow]:
    """One row per character: ``+`` for a success."""
    return [row(policy, f"q{n}", outcome == "+", mode) for n, outcome in enumerate(outcomes)]


def samples(policy: str, *outcomes: str, **changes: Any) -> list[EvaluationRow]:
    """The rollouts of one scenario per text, as in ``rows``; ``!`` is one with an error."""
    failed = {"error": "timeout", "reason": "timeout"}
    return [
        row(
            policy,
            f"q{n}",
            outcome == "+",
            sample=sample,
            **(changes | failed if outcome == "!" else changes),
        )
        for n, text in enumerate(outcomes)
        for sample, outcome in enumerate(text)
    ]


def comparison(**outcomes: str) -> Comparison:
    return compare([r for policy, text in outcomes.items() for r in rows(policy, text)], 0.95)
