"""The report of an evaluation: every policy on the same scenarios, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from training.config import POLICIES
from training.evaluation.evaluate import EvaluationRow
from training.evaluation.promotion import Decision
from training.evaluation.summaries import Comparison, PolicySummary
from training.report import page as html
from training.report.agreement import agreement_sections
from training.report.measures import measures
from training.report.policies import details_table, notes, policies_table, success_chart

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
    return html.page(
        title,
        "The same scenarios for every policy, held out of the training.",
        [
            html.tiles({name: str(value) for name, value in facts.items()}),
            html.section("Verdict", html.paragraph(decision.reason, "good" if decision.promote else "bad")),
            html.section(
                "Success",
                success_chart(comparison),
                policies_table(comparison),
                html.paragraph(notes(comparison), "role"),
                details_table(comparison),
                html.table(
                    ("paired difference", "mode", "mean", f"{comparison.confidence:.0%} interval"),
                    differences,
                ),
            ),
            *_by_kind(sampled),
            *measures(sampled, comparison.confidence),
            *agreement_sections(rows),
            html.section("What still goes wrong", _failures(rows)),
        ],
    )  # fmt: skip


def _by_kind(sampled: Mapping[str, PolicySummary]) -> list[str]:
    """Bars for our own policies, and a table where there are others; nothing of a single kind."""
    kinds = sorted({kind for s in sampled.values() for kind in s.by_kind})
    if len(kinds) < 2:
        return []
    own = {label: sampled[label] for label in POLICIES if label in sampled}
    bars = html.bars(
        {k: {label: s.by_kind.get(k, 0.0) for label, s in own.items()} for k in kinds},
        "success by kind of scenario",
    )
    rows = [[k, *(s.by_kind.get(k, "-") for s in sampled.values())] for k in kinds]
    table = [] if len(own) == len(sampled) else [html.table(("", *sampled), rows)]
    return [html.section("Sampled success by kind of scenario", bars, *table)]


def _failures(rows: Sequence[EvaluationRow]) -> str:
    failed = [r for r in rows if r.policy == "trained" and r.mode == "greedy" and not r.success]
    if not failed:
        return html.paragraph("Nothing, on these scenarios.")
    columns = {
        "question": [r.question or r.scenario_id for r in failed],
        "expected": [r.gold for r in failed],
        "answered": [r.answer or _last_words(r) for r in failed],
        "reason": [r.reason for r in failed],
    }
    # Not every environment asks questions with one answer.
    shown = {name: texts[:_FAILURES_SHOWN] for name, texts in columns.items() if any(texts)}
    return html.table(tuple(shown), list(zip(*shown.values(), strict=True)))


def _last_words(row: EvaluationRow) -> str:
    """The last text that the agent wrote: in some environments that is its answer."""
    texts = (m.get("content") for m in reversed(row.messages) if m["role"] == "assistant")
    return str(next(texts, None) or "")
