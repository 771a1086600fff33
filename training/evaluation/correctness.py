"""A judge's verdict on the answers of an evaluation, beside the environment's match."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel

from agent.judge import CorrectnessJudge
from environment.language_model import LlmBudgetSpent, LlmFailed
from training.evaluation.evaluate import EvaluationRow
from training.evaluation.statistics import cohens_kappa

log = logging.getLogger(__name__)


class Agreement(BaseModel):
    """How often judge and match said the same of an answer.

    Args:
        answers: those with a verdict of both.
        share: of them, where both said the same; None if there are none.
        kappa: Cohen's; None where chance alone would agree always.
        failed: answers without a verdict, by reason.
        only_judge, only_match: answers that one alone took for right.
    """

    answers: int
    share: float | None
    kappa: float | None
    failed: dict[str, int]
    only_judge: int
    only_match: int


async def judge_rows(
    rows: Sequence[EvaluationRow], judge: CorrectnessJudge, decides: Literal["match", "judge"]
) -> list[EvaluationRow]:
    """The rows with the judge's verdict on every answer; where there is none, it is not asked.

    Args:
        decides: what ``success`` says. If it is the judge, an answer without a verdict is an error
            of its row, and neither right nor wrong.
    """
    verdicts: dict[_Asked, asyncio.Task[_Verdict]] = {}
    async with asyncio.TaskGroup() as tasks:
        for row in rows:
            # The same answer is judged once, whoever gave it and however often.
            if (asked := _asked(row)) is not None and asked not in verdicts:
                verdicts[asked] = tasks.create_task(_judge(judge, *asked))
    return [
        row if (asked := _asked(row)) is None else _with(row, verdicts[asked].result(), decides)
        for row in rows
    ]


_Asked = tuple[str, str, str]
_Verdict = tuple[bool | None, str]


def _asked(row: EvaluationRow) -> _Asked | None:
    return None if row.answer is None or row.error else (row.question, row.gold, row.answer)


async def _judge(judge: CorrectnessJudge, question: str, gold: str, answer: str) -> _Verdict:
    """The verdict, or None and why there is none."""
    try:
        return (await judge.verdict(question, gold, answer)).correct, ""
    except LlmFailed as error:
        log.warning("no verdict on an answer: %s", error)
        return None, "judge_failed"
    except LlmBudgetSpent:
        return None, "judge_budget"


def _with(
    row: EvaluationRow, verdict: _Verdict, decides: Literal["match", "judge"]
) -> EvaluationRow:
    judged, failed = verdict
    changes: dict[str, Any] = {"judged": judged, "judge_error": failed}
    if decides == "judge":
        if judged is None:
            changes |= {"error": failed, "reason": failed, "success": False}
        elif judged != row.success:
            reason = "right_by_judge" if judged else "wrong_by_judge"
            changes |= {"success": judged, "reason": reason}
    return row.model_copy(update=changes)


def agreement(rows: Sequence[EvaluationRow]) -> Agreement | None:
    """None if no answer was given to a judge."""
    if not any(row.judged is not None or row.judge_error for row in rows):
        return None
    both = [(row.judged, row.matched) for row in rows if row.judged is not None]
    judged, matched = [bool(j) for j, _ in both], [m for _, m in both]
    return Agreement(
        answers=len(both),
        share=sum(j == m for j, m in both) / len(both) if both else None,
        kappa=cohens_kappa(judged, matched),
        failed=dict(Counter(row.judge_error for row in rows if row.judge_error).most_common()),
        only_judge=sum(j and not m for j, m in zip(judged, matched, strict=True)),
        only_match=sum(m and not j for j, m in zip(judged, matched, strict=True)),
    )


def disagreements(rows: Sequence[EvaluationRow]) -> list[EvaluationRow]:
    """One row for each answer on which judge and match differ."""
    found = {
        (row.question, row.gold, row.answer): row
        for row in rows
        if row.judged is not None and row.judged != row.matched
    }
    return list(found.values())
