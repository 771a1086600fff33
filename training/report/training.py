"""The report of a training run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from agent.rollout import Rollout
from training.loop.judging import AGREEMENT, CONSISTENCY, distrust, judge_faults, judge_summary
from training.report.charts import LineChart, line_chart
from training.report.page import page
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
    meanings: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Reward and success over the steps, what was left out and why, samples before and after.

    Args:
        notes: what is to be said first, such as why the run ended.
        meanings: of the environment's verdicts.
    """
    dropped: Counter[str] = Counter()
    for record in records:
        dropped.update(record["data/dropped"])
    first, last = first_and_last(records, "train/success")
    return page(
        "training",
        title,
        notes=notes,
        steps=len(records),
        trajectories=sum(r["data/step_num_trajectories"] for r in records),
        trained=sum(r["data/step_trained_trajectories"] for r in records),
        probs_corr=min(
            (r["loss/probs_corr"] for r in records if "loss/probs_corr" in r), default=None
        ),
        first=first,
        last=last,
        reward=_chart(records, "train/reward"),
        success=_chart(records, "train/success"),
        entropy=_chart(records, "loss/entropy"),
        judge=judge_summary(records),
        ranks=_chart(records, AGREEMENT, CONSISTENCY),
        distrust=distrust(records),
        faults=judge_faults(records).most_common(_FAULTS_SHOWN),
        dropped=dropped.most_common(),
        before=before,
        after={sample.scenario_id: sample for sample in after},
        settings=list(_flat(settings))[:_SETTINGS_SHOWN],
        meanings=meanings,
    )


def _chart(records: Sequence[Record], *keys: str) -> LineChart | None:
    return line_chart(
        {key.split("/")[1]: [(r[STEP], r[key]) for r in records if key in r] for key in keys}
    )


def _flat(settings: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{name}.")
        else:
            rows.append((prefix + name, str(value)))
    return rows
