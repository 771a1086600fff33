"""The report of an evaluation: every policy on the same scenarios, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from training.config import POLICIES
from training.evaluation import Comparison, EvaluationRow, PolicySummary
from training.promotion import Decision
from training.report import page as html
from training.report.agreement import agreement_sections
from training.report.policies import NOTES, details_table, policies_table, success_chart

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
    differences = [
        [f"trained - {other}", mode, d["mean"], f"{d['low']:+.3f} to {d['high']:+.3f}"]
        for other, modes in comparison.differences.items()
        for mode, d in modes.items()
    ]
    sampled = {
        label: modes["sampled"]
        for label, modes in comparison.policies.items()
        if "sampled" in modes
    }
    reasons = sorted({reason for s in sampled.values() for reason in s.reasons})
    return html.page(
        title,
        "The same held-out scenarios for every policy; inboxes and names it was never trained on.",
        [
            html.tiles({name: str(value) for name, value in facts.items()}),
            html.section("Verdict", html.paragraph(decision.reason, "good" if decision.promote else "bad")),
            html.section(
                "Success",
                success_chart(comparison),
                policies_table(comparison),
                html.paragraph(NOTES, "role"),
                details_table(comparison),
                html.table(
                    ("paired difference", "mode", "mean", f"{comparison.confidence:.0%} interval"),
                    differences,
                ),
            ),
            html.section("Sampled success by kind of question", *_by_kind(sampled)),
            html.section(
                "How rollouts ended (sampled)",
                html.table(
                    ("", *sampled),
                    [[r, *(s.reasons.get(r, 0) for s in sampled.values())] for r in reasons],
                ),
            ),
            *agreement_sections(rows),
            html.section("What still goes wrong", _failures(rows)),
        ],
    )  # fmt: skip


def _by_kind(sampled: Mapping[str, PolicySummary]) -> list[str]:
    """Bars for our own policies, and a table where there are others."""
    kinds = sorted({kind for s in sampled.values() for kind in s.by_kind})
    own = {label: sampled[label] for label in POLICIES if label in sampled}
    bars = html.bars(
        {k: {label: s.by_kind.get(k, 0.0) for label, s in own.items()} for k in kinds},
        "success by kind of question",
    )
    if len(own) == len(sampled):
        return [bars]
    rows = [[k, *(s.by_kind.get(k, "-") for s in sampled.values())] for k in kinds]
    return [bars, html.table(("", *sampled), rows)]


def _failures(rows: Sequence[EvaluationRow]) -> str:
    failed = [r for r in rows if r.policy == "trained" and r.mode == "greedy" and not r.success]
    if not failed:
        return html.paragraph("Nothing, on these scenarios.")
    return html.table(
        ("question", "expected", "answered", "reason"),
        [[r.question, r.gold, r.answer or "", r.reason] for r in failed[:_FAILURES_SHOWN]],
    )
