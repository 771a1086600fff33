"""One table and one chart over all policies and models of an evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from training.evaluation.evaluate import Mode
from training.evaluation.summaries import Comparison, PolicySummary
from training.report import page as html

_NOTES = (
    "Success and all but the cost are of the rollouts without an error. An error is a rollout that "
    "says nothing about the policy: its server failed or refused, the time or the budget ran out, "
    "a judge gave no verdict. Seconds are of a whole rollout, tools and waits for rate limits "
    "included, while as many ran as the column at once says: alone, one takes less. The cost of "
    "our own policies is their share of the machine's price per hour; a dash is what nobody knows."
)
_SOURCES = " Source accuracy is the share of right answers that cite a source the answer stands in."
_SAMPLES = (
    " Each scenario counts alike, however often it was sampled, and intervals are over scenarios."
)


def notes(comparison: Comparison) -> str:
    """What the columns of the tables mean."""
    several = any(summary.samples > 1 for _, _, summary in _all(comparison))
    return _NOTES + _SAMPLES * several + _SOURCES * _has_sources(comparison)


def policies_table(comparison: Comparison) -> str:
    sources = _has_sources(comparison)
    header = ("policy", "mode", "success", f"{comparison.confidence:.0%} interval",
              *(["source accuracy"] if sources else []), "turns", "seconds p50", "p99", "at once",
              "USD per 1,000", "errors")  # fmt: skip
    rows = [
        [
            label,
            mode,
            _known(summary.success),
            _interval(summary),
            *([_known(summary.source_accuracy)] if sources else []),
            _known(summary.turns),
            _known(summary.seconds_p50),
            _known(summary.seconds_p99),
            summary.at_once,
            _known(summary.usd_per_1000),
            ", ".join(f"{count} {reason}" for reason, count in summary.errors.items()) or "none",
        ]
        for label, mode, summary in _all(comparison)
    ]
    return html.table(header, rows)


def details_table(comparison: Comparison) -> str:
    header = ("policy", "mode", "model", "scenarios", "rollouts", "tokens", "reward")
    rows = [
        [
            label,
            mode,
            summary.model or "ours",
            summary.scenarios,
            summary.rollouts,
            _known(None if summary.tokens is None else round(summary.tokens)),
            _known(summary.reward),
        ]
        for label, mode, summary in _all(comparison)
    ]
    return html.table(header, rows)


def success_chart(comparison: Comparison, width: int = 720) -> str:
    """Success as a point on its interval, a line for every policy and way to sample."""
    row, left, right = 22, 190, 60
    span = width - left - right
    parts, y = [], 8
    drawn = [(f"{label}, {mode}", summary) for label, mode, summary in _all(comparison)]
    bottom = y + row * len(drawn)
    for share in (0, 0.25, 0.5, 0.75, 1):
        x = left + share * span
        parts.append(
            f"<line x1='{x:.1f}' x2='{x:.1f}' y1='4' y2='{bottom}' stroke='var(--line)'/>"
            f"<text x='{x:.1f}' y='{bottom + 14}' text-anchor='middle'>{share:.2f}</text>"
        )
    for name, summary in drawn:
        middle = y + row / 2
        parts.append(
            f"<text x='{left - 10}' y='{middle + 4}' text-anchor='end'>{escape(name)}</text>"
        )
        if summary.success is None or summary.success_low is None or summary.success_high is None:
            parts.append(f"<text x='{left + 6}' y='{middle + 4}'>errors only</text>")
        else:
            at, low, high = (
                left + share * span
                for share in (summary.success, summary.success_low, summary.success_high)
            )
            colour = "var(--b)" if summary.model else "var(--a)"
            parts.append(
                f"<line x1='{low:.1f}' x2='{high:.1f}' y1='{middle}' y2='{middle}' "
                f"stroke='{colour}' stroke-width='3' opacity='0.45'/>"
                f"<rect x='{at - 4:.1f}' y='{middle - 4}' width='8' height='8' rx='4' "
                f"fill='{colour}'/><text x='{left + span + 12}' y='{middle + 4}'>"
                f"{summary.success:.3f}</text>"
            )
        y += row
    return (
        f"<svg viewBox='0 0 {width} {bottom + 20}' role='img' "
        f"aria-label='success with its {comparison.confidence:.0%} interval'>{''.join(parts)}</svg>"
        f"<p class='role'>Success with its {comparison.confidence:.0%} interval &nbsp; "
        "<span style='color:var(--a)'>&#9632;</span> ours &nbsp; "
        "<span style='color:var(--b)'>&#9632;</span> hosted</p>"
    )


def _all(comparison: Comparison) -> Iterator[tuple[str, Mode, PolicySummary]]:
    for label, modes in comparison.policies.items():
        for mode, summary in modes.items():
            yield label, mode, summary


def _has_sources(comparison: Comparison) -> bool:
    return any(summary.source_accuracy is not None for _, _, summary in _all(comparison))


def _known(value: float | None) -> float | str:
    return "-" if value is None else value


def _interval(summary: PolicySummary) -> str:
    if summary.success_low is None:
        return "-"
    return f"{summary.success_low:.3f} to {summary.success_high:.3f}"
