"""Replace the environment's rewards with a judge's scores, and measure how far to trust the judge.

If the environment has a reward of its own, the judge is compared with it by rank correlation within
each group, since GRPO compares rewards only within groups.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from agent.judge import RulerJudge, rank_correlation
from agent.rollout import NOT_THE_AGENTS_FAULT, Rollout
from environment.base import Environment
from environment.language_model import LlmFailed
from training.loop.gather import run_all
from training.run.run_log import Record

log = logging.getLogger(__name__)

OWN_REWARD = "independent_reward"
FAULTS = "judge/faults"
AGREEMENT, CONSISTENCY = "judge/agreement", "judge/consistency"
FAILED_GROUPS, REQUESTS, CACHED = "judge/failed_groups", "judge/requests", "judge/cached"
JUDGE_COST = "costs/judge_usd"
_LOW_AGREEMENT = 0.3
_STEPS_TO_TELL = 5


@dataclass(frozen=True, slots=True)
class _Judgement:
    """The judgement of one group.

    Args:
        fault: why it failed; empty if it did not.
        agreement: rank correlation with the environment's own reward; None if undefined.
        consistency: see ``agent.judge.Judged``.
    """

    fault: str = ""
    agreement: float | None = None
    consistency: float | None = None


async def judge_groups(
    judge: RulerJudge, groups: Sequence[Sequence[Rollout]], environment: Environment[Any, Any]
) -> tuple[list[str], Record]:
    """Score all groups concurrently and in place, except rollouts that failed for outside reasons.

    The environment's own reward is kept as the metric ``independent_reward``.

    Returns:
        Why judging failed, per group, with empty strings for success; and the judge's metrics of the
        step. A failed group keeps its own rewards and must not be trained on.

    Raises:
        LlmBudgetSpent: the judge's budget is spent; some groups may already have its scores.
    """
    before = dataclasses.replace(judge.llm.usage)
    judgements = await run_all(_judge_group(judge, group, environment) for group in groups)
    faults = [judgement.fault for judgement in judgements]
    failures = [fault for fault in faults if fault]
    if failures:
        log.warning("judge: %d of %d groups dropped: %s", len(failures), len(faults), failures[0])
    now = judge.llm.usage
    record: Record = {
        FAILED_GROUPS: len(failures),
        FAULTS: dict(Counter(failures)),
        REQUESTS: now.requests - before.requests,
        CACHED: now.cached - before.cached,
    }
    if judge.llm.priced:
        record[JUDGE_COST] = now.cost_usd - before.cost_usd
    for name, values in (
        (AGREEMENT, [j.agreement for j in judgements if j.agreement is not None]),
        (CONSISTENCY, [j.consistency for j in judgements if j.consistency is not None]),
    ):
        if values:
            record[name] = fmean(values)
    return faults, record


async def _judge_group(
    judge: RulerJudge, group: Sequence[Rollout], environment: Environment[Any, Any]
) -> _Judgement:
    shown = [rollout for rollout in group if rollout.stop not in NOT_THE_AGENTS_FAULT]
    if len(shown) < 2:
        return _Judgement()
    try:
        judged = await judge.score([r.messages for r in shown], environment.tool_schemas)
    except LlmFailed as error:
        return _Judgement(str(error))
    own_rewards = [rollout.reward for rollout in shown]
    for rollout, own, score in zip(shown, own_rewards, judged.scores, strict=True):
        rollout.reward = dataclasses.replace(
            own, value=score, metrics={**own.metrics, OWN_REWARD: own.value}
        )
    agreement = rank_correlation(judged.scores, [own.value for own in own_rewards])
    return _Judgement("", agreement, judged.consistency)


def mean_of_steps(records: Sequence[Record], name: str) -> float | None:
    """The mean over the steps that have the metric."""
    values = [record[name] for record in records if name in record]
    return fmean(values) if values else None


def judge_summary(records: Sequence[Record]) -> dict[str, float | None] | None:
    """Totals and means of a run's judge; None if it had none."""
    judged = [record for record in records if FAILED_GROUPS in record]
    if not judged:
        return None
    costs = [record[JUDGE_COST] for record in judged if JUDGE_COST in record]
    return {
        "agreement": mean_of_steps(judged, AGREEMENT),
        "consistency": mean_of_steps(judged, CONSISTENCY),
        "failed_groups": sum(record[FAILED_GROUPS] for record in judged),
        "requests": sum(record[REQUESTS] for record in judged),
        "cached": sum(record[CACHED] for record in judged),
        "usd": sum(costs) if costs else None,
    }


def judge_faults(records: Sequence[Record]) -> Counter[str]:
    """Number of groups that were not judged, by reason."""
    faults: Counter[str] = Counter()
    for record in records:
        faults.update(record.get(FAULTS, {}))
    return faults


def distrust(records: Sequence[Record]) -> str:
    """A warning if the judge disagrees with the environment's own reward, otherwise empty."""
    known = [record for record in records if AGREEMENT in record]
    agreement = mean_of_steps(known, AGREEMENT)
    if agreement is None or len(known) < _STEPS_TO_TELL or agreement >= _LOW_AGREEMENT:
        return ""
    return (
        f"the judge disagrees with the environment's own reward: their rank correlation within groups "
        f"is {agreement:.2f} over {len(known)} steps (1: same order, 0: unrelated). One of the two is "
        "wrong: check some of the judge's scores in trajectories/ before you trust this run, or use "
        "another judge.model"
    )
