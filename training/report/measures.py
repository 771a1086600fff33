"""Tables of what an environment measures of its rollouts: how they ended, pass@k, its metrics."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

from training.evaluation.statistics import Interval
from training.evaluation.summaries import PolicySummary
from training.report import page as html

# An environment's metrics that say of every rollout how it ended, for the curves of a training.
_ENDING = "verdict_"
Policies = Mapping[str, PolicySummary]


def measures(policies: Policies, confidence: float) -> list[str]:
    """The sections of the report on ``policies``, by label, all in the same mode."""
    note = (
        f"Shares of the rollouts without an error, with {confidence:.0%} intervals over scenarios; "
        "of errors the number."
    )
    return [
        *_pass_at_k(policies, confidence),
        html.section(
            "How rollouts ended (sampled)", _endings(policies), html.paragraph(note, "role")
        ),
        *_metrics(policies, confidence),
    ]


def _pass_at_k(policies: Policies, confidence: float) -> list[str]:
    shown = {
        label: {one.k: one for one in policy.pass_at_k}
        for label, policy in policies.items()
        if policy.pass_at_k
    }
    if not shown:
        return []
    ks = sorted({k for by_k in shown.values() for k in by_k})
    rows = [
        [label, policies[label].samples]
        + [cell(Interval(f.mean, f.low, f.high)) if (f := by_k.get(k)) else "-" for k in ks]
        for label, by_k in shown.items()
    ]
    left_out = [
        f"{one.left_out:,} of {one.scenarios + one.left_out:,} at k = {k} of {label}"
        for label, by_k in shown.items()
        for k, one in by_k.items()
        if one.left_out
    ]
    note = (
        f"The chance that at least one of k sampled rollouts solves a scenario, with its "
        f"{confidence:.0%} interval over scenarios. It is the unbiased estimate from all the "
        "rollouts of a scenario that have no error; a scenario with fewer than k of them is left "
        f"out{': ' + ', '.join(left_out) if left_out else ' (here none is)'}."
    )
    header = ("policy", "samples", *(f"pass@{k}" for k in ks))
    return [html.section("pass@k", html.table(header, rows), html.paragraph(note, "role"))]


def _endings(policies: Policies) -> str:
    """The most frequent first, and errors last."""
    totals: defaultdict[str, float] = defaultdict(float)
    errors: Counter[str] = Counter()
    for policy in policies.values():
        errors.update(policy.errors)
        for reason, share in policy.endings.items():
            totals[reason] += share.mean
    rows = [
        [reason, *(cell(p.endings.get(reason)) if p.endings else "-" for p in policies.values())]
        for reason in sorted(totals, key=totals.__getitem__, reverse=True)
    ]
    rows += [
        [f"error: {reason}", *(str(p.errors.get(reason, 0)) for p in policies.values())]
        for reason, _ in errors.most_common()
    ]
    return html.table(("", *policies), rows)


def _metrics(policies: Policies, confidence: float) -> list[str]:
    """Those that are not zero throughout and not told by the endings."""
    rows = [
        [name.replace("_", " "), *(cell(p.metrics.get(name), "-") for p in policies.values())]
        for name in sorted({name for policy in policies.values() for name in policy.metrics})
        if not name.startswith(_ENDING)
        and any(p.metrics[name].mean for p in policies.values() if name in p.metrics)
    ]
    if not rows:
        return []
    note = f"Means of the rollouts without an error, with {confidence:.0%} bootstrap intervals over scenarios."
    return [
        html.section(
            "What the environment measured (sampled)",
            html.table(("", *policies), rows),
            html.paragraph(note, "role"),
        )
    ]


def cell(found: Interval | None, nothing: str = "0") -> str:
    if found is None:
        return nothing
    return f"{found.mean:.3f} ({found.low:.3f} to {found.high:.3f})"
