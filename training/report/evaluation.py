"""The report of an evaluation: every policy on the same scenarios, and the verdict."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from training.config import POLICIES
from training.evaluation.correctness import agreement, disagreements
from training.evaluation.evaluate import EvaluationRow
from training.evaluation.promotion import Decision
from training.evaluation.summaries import Comparison
from training.report.page import page

_FAILURES_SHOWN = 12


def evaluation_report(
    title: str,
    comparison: Comparison,
    decision: Decision,
    rows: Sequence[EvaluationRow],
    facts: Mapping[str, object],
    meanings: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """
    Args:
        facts: what was evaluated: model, version, step and so on.
        meanings: of the environment's verdicts and metrics.
    """
    summaries = [
        (label, mode, summary)
        for label, modes in comparison.policies.items()
        for mode, summary in modes.items()
    ]
    sampled = {label: summary for label, mode, summary in summaries if mode == "sampled"}
    policies = sampled.values()
    return page(
        "evaluation",
        title,
        facts=facts,
        decision=decision,
        summaries=summaries,
        several=any(s.samples > 1 for _, _, s in summaries),
        sources=any(s.source_accuracy is not None for _, _, s in summaries),
        differences=comparison.differences,
        level=f"{comparison.confidence:.0%}",
        sampled=sampled,
        own={label: sampled[label] for label in POLICIES if label in sampled},
        kinds=sorted({kind for s in policies for kind in s.by_kind}),
        ks=sorted({p.k for s in policies for p in s.pass_at_k}),
        pass_at_k={
            label: {p.k: p for p in s.pass_at_k} for label, s in sampled.items() if s.pass_at_k
        },
        endings=_by_total({r: share.mean for r, share in s.endings.items()} for s in policies),
        errors=_by_total(s.errors for s in policies),
        # One that is zero throughout says nothing.
        metrics=sorted({name for s in policies for name, m in s.metrics.items() if m.mean}),
        meanings=meanings,
        agreement=agreement(rows),
        disagreements=disagreements(rows),
        failures=_failures(rows),
    )


def _by_total(counts: Iterable[Mapping[str, float]]) -> list[str]:
    """The names that are counted, the most frequent first."""
    totals: defaultdict[str, float] = defaultdict(float)
    for one in counts:
        for name, count in one.items():
            totals[name] += count
    return sorted(totals, key=totals.__getitem__, reverse=True)


def _failures(rows: Sequence[EvaluationRow]) -> list[dict[str, str]]:
    failed = [r for r in rows if r.policy == "trained" and r.mode == "greedy" and not r.success]
    columns = {
        "question": [r.question or r.scenario_id for r in failed],
        "expected": [r.gold for r in failed],
        "answered": [r.answer or _last_words(r) for r in failed],
        "reason": [r.reason for r in failed],
    }
    # Not every environment asks questions with one answer.
    shown = {name: texts[:_FAILURES_SHOWN] for name, texts in columns.items() if any(texts)}
    return [dict(zip(shown, texts, strict=True)) for texts in zip(*shown.values(), strict=True)]


def _last_words(row: EvaluationRow) -> str:
    """The last text that the agent wrote: in some environments that is its answer."""
    texts = (m.get("content") for m in reversed(row.messages) if m["role"] == "assistant")
    return str(next(texts, None) or "")
