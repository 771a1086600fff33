"""What a judge of correctness says beside the match, and where they differ."""

from __future__ import annotations

from collections.abc import Sequence

from training.evaluation.correctness import agreement, disagreements
from training.evaluation.evaluate import EvaluationRow
from training.report import page as html

_SHOWN = 100


def agreement_sections(rows: Sequence[EvaluationRow]) -> list[str]:
    """Nothing if no judge was asked."""
    found = agreement(rows)
    if found is None:
        return []
    differ = disagreements(rows)
    numbers = {
        "answers with a verdict of both": f"{found.answers:,}",
        "both say the same": "-" if found.share is None else f"{found.share:.1%}",
        "Cohen's kappa": "-" if found.kappa is None else f"{found.kappa:.2f}",
        "right for the judge alone": f"{found.only_judge:,}",
        "right for the match alone": f"{found.only_match:,}",
        **{f"without a verdict: {reason}": f"{n:,}" for reason, n in found.failed.items()},
    }
    shown = [
        [r.question, r.gold, r.answer or "", "right" if r.judged else "wrong",
         "right" if r.matched else "wrong"]
        for r in differ[:_SHOWN]
    ]  # fmt: skip
    return [
        html.section(
            "Judge and match",
            html.tiles(numbers),
            html.paragraph(
                f"{len(differ):,} different answers on which they differ"
                + (f"; the first {_SHOWN} of them:" if len(differ) > _SHOWN else ":")
                if differ
                else "They differ on no answer."
            ),
            *(
                [html.table(("question", "expected", "answered", "judge", "match"), shown)]
                if differ
                else []
            ),
        )
    ]
