"""A run's summary as printed at the end of a command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from training.config import POLICIES

_SPLITS = {"train": "to train on", "test": "held out"}


def lines(summary: dict[str, Any], folder: Path) -> Iterator[str]:
    seconds = {name: s for name, s in summary["seconds"].items() if s is not None}
    yield ""
    yield (
        f"{summary['pipeline']}: {summary['status']}, "
        + ", ".join(f"{name} {s:.0f} s" for name, s in seconds.items())
        + f", peak memory {summary['peak_rss_mib']:.0f} MiB"
    )
    for artifact, facts in (summary["data"] or {}).items():
        if artifact != "cached":
            yield from _data(artifact, facts)
    if train := summary["train"]:
        yield (
            f"training    {train['steps']} steps (ended by {train['stopped_by']}), {train['trained']:,} of "
            f"{train['trajectories']:,} rollouts trained on, lowest probs_corr "
            + (f"{train['probs_corr_min']:.4f}" if train["probs_corr_min"] is not None else "none")
        )
        for reason, count in train["dropped"].items():
            yield f"              {count:,} left out: {reason}"
        if judge := train.get("judge"):
            yield f"judge       {_judge(judge)}"
    if evaluation := summary["eval"]:
        yield from _evaluation(evaluation)
    yield f"details     {folder}/"


def _data(artifact: str, facts: dict[str, Any]) -> Iterator[str]:
    """An artifact of the data pipeline: its counts, and what was left out."""
    counts = {name: n for name, n in facts.items() if isinstance(n, int)}
    names = [*(name for name in _SPLITS if name in counts), *sorted(counts.keys() - _SPLITS.keys())]
    shown = ", ".join(f"{counts[name]:,} {_SPLITS.get(name, name)}" for name in names)
    yield f"{artifact:<11} {shown}"
    for reason, count in facts.get("skipped", {}).items():
        yield f"              {count:,} left out: {reason}"
    if writer := facts.get("writer"):
        yield from _written(writer)


def _judge(judge: dict[str, Any]) -> str:
    """The judge's reliability and cost."""
    known = [
        f"{name} {judge[key]:+.2f}"
        for key, name in (
            ("agreement", "rank correlation with the environment's own reward"),
            ("consistency", "with itself in another order"),
        )
        if judge[key] is not None
    ]
    cost = "cost unknown" if judge["usd"] is None else f"{judge['usd']:.4f} USD"
    counts = f"{judge['requests']:,} requests, {judge['cached']:,} from the cache, {cost}"
    return ", ".join([*known, f"{judge['failed_groups']} groups not judged", counts])


def _written(writer: dict[str, Any]) -> Iterator[str]:
    """What a language model wrote, and what was left out."""
    usd = writer.get("cost_usd")
    cost = "cost unknown" if usd is None else f"{usd:.2f} USD"
    yield (
        f"              {writer['kept']:,} written by {writer['model']} (ended by "
        f"{writer['ended_by']}), {writer['requests']:,} requests, {cost}"
    )
    for reason, count in writer["left_out"].items():
        yield f"              {count:,} left out: {reason}"


def _evaluation(evaluation: dict[str, Any]) -> Iterator[str]:
    table = evaluation.get("table", [])
    samples = max((row["samples"] for row in table), default=1)
    each = f", {samples} sampled rollouts of each" if samples > 1 else ""
    yield f"held out    {evaluation['scenarios']} scenarios{each}"
    if any(row["policy"] not in POLICIES for row in table):
        yield from _all_models(table, evaluation["confidence"])
    else:
        yield "              success      sampled   greedy"
        for label in ("base", "incumbent", "trained"):
            if label in evaluation:
                shares = evaluation[label]
                sampled, greedy = (_number(shares[mode], ".3f") for mode in ("sampled", "greedy"))
                yield f"              {label:<12} {sampled:<9} {greedy}"
    yield from _pass_at_k(table)
    if gain := evaluation["difference"]:
        yield (
            f"              difference   {gain['mean']:+.3f}    "
            f"({evaluation['confidence']:.0%} interval {gain['low']:+.3f} to {gain['high']:+.3f})"
        )
    if judge := evaluation.get("judge"):
        yield (
            f"              judge and match agree on {_number(judge['share'], '.1%')} of "
            f"{judge['answers']:,} answers, kappa {_number(judge['kappa'], '.2f')}; "
            f"{sum(judge['failed'].values()):,} without a verdict"
        )
    yield f"              {evaluation['decision']}"


def _all_models(table: list[dict[str, Any]], confidence: float) -> Iterator[str]:
    """A line per policy and mode; a dash stands for unknown."""
    sources = any(row["source_accuracy"] is not None for row in table)
    head = ("policy", "mode", "success", f"{confidence:.0%} interval",
            *(["cites"] if sources else []), "turns", "p50 s", "p99 s", "at once", "USD/1,000",
            "errors")  # fmt: skip
    cells = [head]
    for row in table:
        low, high = (_number(row[key], ".2f") for key in ("success_low", "success_high"))
        errors = ", ".join(f"{count} {reason}" for reason, count in row["errors"].items())
        cells.append(
            (
                row["policy"],
                row["mode"],
                _number(row["success"], ".3f"),
                "-" if low == "-" else f"{low} to {high}",
                *([_number(row["source_accuracy"], ".2f")] if sources else []),
                _number(row["turns"], ".1f"),
                _number(row["seconds_p50"], ".2f"),
                _number(row["seconds_p99"], ".2f"),
                str(row["at_once"]),
                _number(row["usd_per_1000"], ".2f"),
                errors or "none",
            )
        )
    yield from _aligned(cells)


def _pass_at_k(table: list[dict[str, Any]]) -> Iterator[str]:
    """A line per policy whose scenarios were run more than once."""
    estimates = {
        row["policy"]: {p["k"]: p for p in row["pass_at_k"]} for row in table if row["pass_at_k"]
    }
    ks = sorted({k for by_k in estimates.values() for k in by_k})
    if not ks:
        return
    cells = [("", *(f"pass@{k}" for k in ks))]
    for policy, by_k in estimates.items():
        shown = (
            f"{p['mean']:.3f} ({p['low']:.2f} to {p['high']:.2f})" if (p := by_k.get(k)) else "-"
            for k in ks
        )
        cells.append((policy, *shown))
    yield from _aligned(cells)
    for policy, by_k in estimates.items():
        for k, p in by_k.items():
            if p["left_out"]:
                yield (
                    f"              {p['left_out']:,} scenarios of {policy} have fewer than {k} "
                    f"rollouts without an error: left out of pass@{k}"
                )


def _aligned(cells: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        padded = "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True))
        yield f"              {padded}".rstrip()


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
