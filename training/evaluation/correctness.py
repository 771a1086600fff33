"""A judge's verdicts on the answers of an evaluation, compared with the environment's match."""

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
    """Agreement of judge and match.

    Args:
        answers: answers with a verdict of both.
        share: of answers on which both agree; None if there are no answers.
        kappa: Cohen's kappa; None if it is undefined.
        failed: answers without a judge's verdict, by reason.
        only_judge, only_match: answers that only one of them accepted.
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
    """The rows with the judge's verdict on every answer.

    Args:
        decides: which of the two sets ``success``. If it is the judge, a missing verdict is an error
            of the row, and its answer counts neither as right nor as wrong.
    """
    verdicts: dict[_Case, asyncio.Task[_Verdict]] = {}
    async with asyncio.TaskGroup() as tasks:
        for row in rows:
            # Equal answers are judged once, whichever policies gave them.
            if (case := _case(row)) is not None and case not in verdicts:
                verdicts[case] = tasks.create_task(_judge(judge, *case))
    return [
        row if (case := _case(row)) is None else _with(row, verdicts[case].result(), decides)
        for row in rows
    ]


_Case = tuple[str, str, str]  # question, gold answer, answer
_Verdict = tuple[bool | None, str]


def _case(row: EvaluationRow) -> _Case | None:
    return None if row.answer is None or row.error else (row.question, row.gold, row.answer)


async def _judge(judge: CorrectnessJudge, question: str, gold: str, answer: str) -> _Verdict:
    """The verdict, or None and the reason why it is missing."""
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
    """None if no judge was used."""
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
    """One row for each distinct answer on which judge and match differ."""
    by_case = {
        (row.question, row.gold, row.answer): row
        for row in rows
        if row.judged is not None and row.judged != row.matched
    }
    return list(by_case.values())
