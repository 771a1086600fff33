"""Summaries of the policies of an evaluation, and the gains of the trained one.

The sampling unit is the scenario: each has equal weight in a success rate, however often it was run,
and intervals are over scenarios.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean

import numpy as np
from pydantic import BaseModel

from agent.failures import BUDGET
from training.evaluation.evaluate import EvaluationRow, Mode
from training.evaluation.pass_at_k import PassAtK, Tally, pass_at_k
from training.evaluation.statistics import (
    Interval,
    bootstrap_means,
    clustered_proportion,
    paired_difference,
    proportion,
)


class PolicySummary(BaseModel):
    """One policy in one mode.

    Counts, ``errors``, ``reasons`` and the cost cover all rollouts; everything else covers those
    without an error, and is None if there are none.

    Args:
        samples: rollouts per scenario.
        pass_at_k: empty if every scenario was run once, as pass@1 is ``success``.
        source_accuracy: share of right answers that cite a source containing the answer; None if the
            environment wants no sources.
        seconds_p50, seconds_p99: of a rollout, with ``at_once`` running concurrently.
        usd_per_1000: cost of 1,000 rollouts, including failed ones; None if unknown.
        errors: excluded rollouts, by reason.
        reasons: how rollouts ended, including errors.
        endings: the share of each reason, averaged over scenarios like ``success``.
        metrics: mean over the rollouts that have the metric, with a bootstrap interval.
    """

    scenarios: int
    rollouts: int
    samples: int
    success: float | None
    success_low: float | None
    success_high: float | None
    pass_at_k: list[PassAtK]
    source_accuracy: float | None
    reward: float | None
    turns: float | None
    tokens: float | None
    seconds_p50: float | None
    seconds_p99: float | None
    usd_per_1000: float | None
    model: str
    at_once: int
    errors: dict[str, int]
    reasons: dict[str, int]
    endings: dict[str, Interval]
    by_kind: dict[str, float]
    metrics: dict[str, Interval]


class Comparison(BaseModel):
    """All policies of an evaluation. ``differences[other][mode]`` holds mean, low and high of trained
    minus other."""

    policies: dict[str, dict[Mode, PolicySummary]]
    differences: dict[str, dict[Mode, dict[str, float]]]
    confidence: float


def compare(
    rows: Iterable[EvaluationRow], confidence: float, trained: str = "trained"
) -> Comparison:
    """Summaries per policy and mode, and paired differences between ``trained`` and every other."""
    by: dict[str, dict[Mode, list[EvaluationRow]]] = {}
    for row in rows:
        by.setdefault(row.policy, {}).setdefault(row.mode, []).append(row)
    differences: dict[str, dict[Mode, dict[str, float]]] = {}
    for other, modes in by.items():
        if other == trained or trained not in by:
            continue
        differences[other] = {}
        for mode, old in modes.items():
            if (gain := _difference(by[trained][mode], old, confidence)) is not None:
                differences[other][mode] = gain.as_dict()
    policies = {
        label: {mode: _summary(in_mode, confidence) for mode, in_mode in modes.items()}
        for label, modes in by.items()
    }
    return Comparison(policies=policies, differences=differences, confidence=confidence)


_ByScenario = Mapping[str, Sequence[EvaluationRow]]


def _counted(rows: Iterable[EvaluationRow]) -> _ByScenario:
    """The rows without an error, by scenario."""
    by_scenario: dict[str, list[EvaluationRow]] = {}
    for row in rows:
        if not row.error:
            by_scenario.setdefault(row.scenario_id, []).append(row)
    return by_scenario


def _difference(
    new: Sequence[EvaluationRow], old: Sequence[EvaluationRow], confidence: float
) -> Interval | None:
    """The difference in success rate over the scenarios where both have rollouts without an error; None
    if there are no such scenarios."""
    run_on = [[(row.scenario_id, row.sample) for row in rows] for rows in (new, old)]
    if run_on[0] != run_on[1]:
        raise ValueError("the policies were not evaluated on the same scenarios")
    one, other = _counted(new), _counted(old)
    both = [name for name in one if name in other]
    if not both:
        return None
    return paired_difference(
        [fmean(row.success for row in one[name]) for name in both],
        [fmean(row.success for row in other[name]) for name in both],
        [one[name][0].cluster for name in both],
        confidence,
    )


def _share(
    counted: _ByScenario, predicate: Callable[[EvaluationRow], bool], confidence: float
) -> Interval:
    """The share of rollouts that satisfy the predicate, averaged over scenarios."""
    rows = [row for group in counted.values() for row in group]
    if len(rows) == len(counted):
        return proportion([predicate(row) for row in rows], confidence)
    shares = [fmean(predicate(row) for row in group) for group in counted.values()]
    clusters = [group[0].cluster for group in counted.values()]
    return clustered_proportion(shares, clusters, len(rows), confidence)


def _ended_by(reason: str) -> Callable[[EvaluationRow], bool]:
    return lambda row: row.reason == reason


def _pass_at_k(
    counted: _ByScenario, names: Iterable[str], samples: int, confidence: float
) -> list[PassAtK]:
    if samples == 1:
        return []
    tallies = {name: Tally(0, 0, "") for name in names} | {
        name: Tally(sum(row.success for row in rows), len(rows), rows[0].cluster)
        for name, rows in counted.items()
    }
    return pass_at_k(tallies, samples, confidence)


def _metrics(rows: Sequence[EvaluationRow], confidence: float) -> dict[str, Interval]:
    names = sorted({name for row in rows for name in row.metrics})
    if not names:
        return {}
    values = np.array([[row.metrics.get(name, np.nan) for name in names] for row in rows])
    intervals = bootstrap_means(values, [row.cluster for row in rows], confidence)
    return dict(zip(names, intervals, strict=True))


def _summary(rows: Sequence[EvaluationRow], confidence: float) -> PolicySummary:
    names = {row.scenario_id for row in rows}
    samples = 1 + max(row.sample for row in rows)
    by_scenario = _counted(rows)
    counted = [row for row in rows if not row.error]
    success = _share(by_scenario, lambda row: row.success, confidence) if counted else None
    kinds: dict[str, list[float]] = {}
    for group in by_scenario.values():
        kinds.setdefault(group[0].kind, []).append(fmean(row.success for row in group))
    endings = Counter(row.reason for row in counted)
    cited = [row.cites_source for row in counted if row.success and row.cites_source is not None]
    requested = [row for row in rows if row.error != BUDGET]
    costs = [row.cost_usd for row in requested if row.cost_usd is not None]
    seconds = [row.seconds for row in counted]
    return PolicySummary(
        scenarios=len(names),
        rollouts=len(rows),
        samples=samples,
        success=success.mean if success else None,
        success_low=success.low if success else None,
        success_high=success.high if success else None,
        pass_at_k=_pass_at_k(by_scenario, names, samples, confidence),
        source_accuracy=_mean(cited),
        reward=_mean([row.reward for row in counted]),
        turns=_mean([row.turns for row in counted]),
        tokens=_mean([row.tokens for row in counted]),
        seconds_p50=float(np.percentile(seconds, 50)) if seconds else None,
        seconds_p99=float(np.percentile(seconds, 99)) if seconds else None,
        usd_per_1000=1000 * fmean(costs) if counted and len(costs) == len(requested) else None,
        model=rows[0].model,
        at_once=rows[0].at_once,
        errors=dict(Counter(row.error for row in rows if row.error).most_common()),
        reasons=dict(Counter(row.reason for row in rows).most_common()),
        endings={
            reason: _share(by_scenario, _ended_by(reason), confidence)
            for reason, _ in endings.most_common()
        },
        by_kind={kind: fmean(values) for kind, values in sorted(kinds.items())},
        metrics=_metrics(counted, confidence),
    )


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
