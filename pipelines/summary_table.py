"""A run's summary as a person reads it at the end of a command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any


def lines(summary: dict[str, Any], folder: Path) -> Iterator[str]:
    seconds = {name: s for name, s in summary["seconds"].items() if s is not None}
    yield ""
    yield (
        f"{summary['pipeline']}: {summary['status']}, "
        + ", ".join(f"{name} {s:.0f} s" for name, s in seconds.items())
        + f", peak memory {summary['peak_rss_mib']:.0f} MiB"
    )
    if data := summary["data"]:
        stored, scenarios = data["database"], data["scenarios"]
        yield (
            f"mails       {stored['stored']:,} stored, {sum(stored['skipped'].values()):,} left out"
        )
        for reason, count in stored["skipped"].items():
            yield f"              {count:,} {reason}"
        yield f"scenarios   {scenarios['train']:,} to train on, {scenarios['test']:,} held out"
        if writer := scenarios.get("writer"):
            yield from _written(writer)
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
        yield f"held out    {evaluation['scenarios']} scenarios"
        yield "              success      sampled   greedy"
        for label in ("base", "incumbent", "trained"):
            if label in evaluation:
                shares = evaluation[label]
                yield f"              {label:<12} {shares['sampled']:.3f}     {shares['greedy']:.3f}"
        gain = evaluation["difference"]
        yield (
            f"              difference   {gain['mean']:+.3f}    "
            f"({evaluation['confidence']:.0%} interval {gain['low']:+.3f} to {gain['high']:+.3f})"
        )
        yield f"              {evaluation['decision']}"
    yield f"details     {folder}/"


def _judge(judge: dict[str, Any]) -> str:
    """How far to trust it, and what it cost."""
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
    """What a language model wrote, and what was left out of it."""
    usd = writer.get("cost_usd")
    cost = "cost unknown" if usd is None else f"{usd:.2f} USD"
    yield (
        f"              {writer['kept']:,} written by {writer['model']} (ended by "
        f"{writer['ended_by']}), {writer['requests']:,} requests, {cost}"
    )
    for reason, count in writer["left_out"].items():
        yield f"              {count:,} left out: {reason}"
