"""The report of an evaluation: every policy on the same scenarios, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from training.evaluation import Comparison, EvaluationRow
from training.promotion import Decision
from training.report import page as html

_FAILURES_SHOWN = 12


def evaluation_report(
    title: str,
    comparison: Comparison,
    decision: Decision,
    rows: Sequence[EvaluationRow],
    facts: Mapping[str, object],
) -> str:
    """
    Args:
        facts: what was evaluated: model, version, step and so on.
    """
    summaries = [
        [
            label,
            mode,
            s.scenarios,
            s.success,
            f"{s.success_low:.3f} to {s.success_high:.3f}",
            s.metrics.get("source_precision", 0.0),
            s.metrics.get("source_recall", 0.0),
            s.turns,
            round(s.tokens),
            s.seconds_p50,
        ]
        for label, modes in comparison.policies.items()
        for mode, s in modes.items()
    ]
    differences = [
        [f"trained - {other}", mode, d["mean"], f"{d['low']:+.3f} to {d['high']:+.3f}"]
        for other, modes in comparison.differences.items()
        for mode, d in modes.items()
    ]
    sampled = {label: modes["sampled"] for label, modes in comparison.policies.items()}
    kinds = sorted({kind for s in sampled.values() for kind in s.by_kind})
    reasons = sorted({reason for s in sampled.values() for reason in s.reasons})
    return html.page(
        title,
        "The same held-out scenarios for every policy; inboxes and names it was never trained on.",
        [
            html.tiles({name: str(value) for name, value in facts.items()}),
            html.section("Verdict", html.paragraph(decision.reason, "good" if decision.promote else "bad")),
            html.section(
                "Success",
                html.table(
                    ("policy", "mode", "scenarios", "success", f"{comparison.confidence:.0%} interval",
                     "source precision", "source recall", "turns", "tokens", "seconds (median)"),
                    summaries,
                ),
                html.table(
                    ("paired difference", "mode", "mean", f"{comparison.confidence:.0%} interval"),
                    differences,
                ),
            ),
            html.section(
                "Sampled success by kind of question",
                html.bars(
                    {k: {label: s.by_kind.get(k, 0.0) for label, s in sampled.items()} for k in kinds},
                    "success by kind of question",
                ),
            ),
            html.section(
                "How rollouts ended (sampled)",
                html.table(
                    ("", *sampled),
                    [[r, *(s.reasons.get(r, 0) for s in sampled.values())] for r in reasons],
                ),
            ),
            html.section("What still goes wrong", _failures(rows)),
        ],
    )  # fmt: skip


def _failures(rows: Sequence[EvaluationRow]) -> str:
    failed = [r for r in rows if r.policy == "trained" and r.mode == "greedy" and not r.success]
    if not failed:
        return html.paragraph("Nothing, on these scenarios.")
    return html.table(
        ("question", "expected", "answered", "reason"),
        [[r.question, r.gold, r.answer or "", r.reason] for r in failed[:_FAILURES_SHOWN]],
    )
