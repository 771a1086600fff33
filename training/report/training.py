"""The report of a training run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from pydantic import BaseModel

from agent.rollout import Rollout
from training.loop.judging import AGREEMENT, CONSISTENCY, distrust, judge_faults, judge_summary
from training.report import page as html
from training.run.run_log import STEP, Record, first_and_last

_SETTINGS_SHOWN, _FAULTS_SHOWN = 40, 5


class Sample(BaseModel):
    """A rollout to be shown: its conversation and how it was scored."""

    scenario_id: str
    question: str
    gold: str
    messages: list[dict[str, Any]]
    reward: float
    success: bool
    reason: str

    @classmethod
    def of(cls, rollout: Rollout) -> Sample:
        return cls(
            scenario_id=rollout.scenario.id,
            question=rollout.scenario.view.question,
            gold=rollout.scenario.view.gold,
            messages=rollout.messages,
            reward=rollout.reward.value,
            success=rollout.reward.success,
            reason=rollout.reward.reason,
        )


def training_report(
    title: str,
    records: Sequence[Record],
    before: Sequence[Sample],
    after: Sequence[Sample],
    settings: Mapping[str, object],
    notes: Sequence[str] = (),
) -> str:
    """Reward and success over the steps, what was left out and why, samples before and after.

    Args:
        notes: what is to be said first, such as why the run ended.
    """
    dropped: Counter[str] = Counter()
    for record in records:
        dropped.update(record["data/dropped"])
    trajectories = sum(r["data/step_num_trajectories"] for r in records)
    trained = sum(r["data/step_trained_trajectories"] for r in records)
    correlations = [r["loss/probs_corr"] for r in records if "loss/probs_corr" in r]
    first, last = first_and_last(records, "train/success")
    overview = {
        "steps": str(len(records)),
        "rollouts": f"{trajectories:,}",
        "of them trained on": f"{trained:,}",
        "lowest probs_corr": f"{min(correlations):.4f}" if correlations else "none",
        "success, first tenth of the steps": f"{first:.2f}" if first is not None else "none",
        "success, last tenth": f"{last:.2f}" if last is not None else "none",
    }
    left_out = [[reason, n, n / max(1, trajectories)] for reason, n in dropped.most_common()]
    return html.page(
        title,
        "What the policy was trained on, what was left out and why, and what it does now.",
        [
            html.tiles(overview),
            *(html.paragraph(note) for note in notes),
            html.section("Reward", html.line_chart(_series(records, "train/reward"), "reward")),
            html.section(
                "Success of the training rollouts",
                html.line_chart(_series(records, "train/success"), "success"),
            ),
            *_judge(records),
            html.section(
                "Trained and left out",
                html.paragraph(
                    f"{trained:,} of {trajectories:,} trajectories were trained on. A group whose "
                    "rollouts all got the same reward (zero_variance) has nothing to teach."
                ),
                html.table(("left out because", "trajectories", "share"), left_out)
                if left_out
                else html.paragraph("Nothing was left out."),
            ),
            html.section(
                "Loss",
                html.line_chart(_series(records, "loss/entropy"), "entropy in nats per token"),
                html.paragraph("Entropy of the policy in nats per token.", "role"),
            ),
            html.section("The same questions, before and after", *_samples(before, after)),
            html.section(
                "Settings",
                html.table(("setting", "value"), list(_flat(settings))[:_SETTINGS_SHOWN]),
            ),
        ],
    )


def _judge(records: Sequence[Record]) -> list[str]:
    """How far the judge can be trusted; nothing for a run without one."""
    summary = judge_summary(records)
    if summary is None:
        return []

    def shown(key: str, form: str) -> str:
        value = summary[key]
        return "unknown" if value is None else form.format(value)

    warning = distrust(records)
    faults = [[fault, n] for fault, n in judge_faults(records).most_common(_FAULTS_SHOWN)]
    return [
        html.section(
            "Judge",
            *([html.paragraph(f"Warning: {warning}", "bad")] if warning else []),
            html.tiles(
                {
                    "rank correlation with the environment's own reward, within groups": shown(
                        "agreement", "{:.2f}"
                    ),
                    "rank correlation with itself, shown in another order": shown(
                        "consistency", "{:.2f}"
                    ),
                    "groups not judged": shown("failed_groups", "{:,}"),
                    "requests": shown("requests", "{:,}"),
                    "answers from the cache": shown("cached", "{:,}"),
                    "US dollars": shown("usd", "{:.4f}"),
                }
            ),
            html.line_chart(
                _series(records, AGREEMENT) | _series(records, CONSISTENCY), "rank correlation"
            ),
            *([html.table(("not judged because", "groups"), faults)] if faults else []),
        )
    ]


def _series(records: Sequence[Record], key: str) -> dict[str, list[tuple[float, float]]]:
    return {key.split("/")[1]: [(r[STEP], r[key]) for r in records if key in r]}


def _samples(before: Sequence[Sample], after: Sequence[Sample]) -> list[str]:
    if not before:
        return [html.paragraph("No samples were taken.")]
    later = {sample.scenario_id: sample for sample in after}
    parts = []
    for sample in before:
        columns = [_column("before", sample)]
        if sample.scenario_id in later:
            columns.append(_column("after", later[sample.scenario_id]))
        parts.append(
            f"<details><summary>{escape(sample.question or sample.scenario_id)} "
            f"{_expected(sample.gold)}<div class='two'>{''.join(columns)}</div></details>"
        )
    return parts


def _expected(gold: str) -> str:
    """Beside the question, or below it if it takes lines of its own, as a program does."""
    if not gold:
        return "</summary>"
    if "\n" not in gold:
        return f"<span class='role'>expected: {escape(gold)}</span></summary>"
    return f"</summary><div class='role'>expected</div><pre>{escape(gold)}</pre>"


def _column(name: str, sample: Sample) -> str:
    css = "good" if sample.success else "bad"
    return (
        f"<div><b>{name}</b> <span class='{css}'>{escape(sample.reason)}, reward "
        f"{sample.reward:.2f}</span>{html.conversation(sample.messages)}</div>"
    )


def _flat(settings: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{name}.")
        else:
            rows.append((prefix + name, str(value)))
    return rows
