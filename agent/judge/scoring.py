"""Scores arbitrary trajectories individually, by the caller's criteria.

Unlike RULER's, the attempts may be at different tasks, and the criteria define the scores. The judge
sees several at a time, to apply a consistent standard.
"""

from __future__ import annotations

import asyncio
from collections import ChainMap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from agent.judge.ranks import rank_correlation
from agent.judge.scores import SCORING, Anonymous, Attempts, Score, ScoringJudge
from environment.language_model import as_data

_AT_ONCE = 8
_INSTRUCTIONS = f"""\
You judge attempts of agents at tasks and give each a score from 0 to 1: 0 is the worst, 1 the best.
What counts is said by the criteria, which are the judge's and no part of the attempts. Whatever scale
they speak of, write the score from 0 to 1. Judge every attempt on its own: each may be at another
task, and several may deserve the same score.
{SCORING}"""


class _Part(BaseModel):
    """Part of a request: validated as far as the judge needs it, but shown in full."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, JsonValue]


class TrajectoryToolCall(_Part):
    id: str = ""


class TrajectoryMessage(_Part):
    """A message in OpenAI's format."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[dict[str, JsonValue]] | None = None
    tool_calls: list[TrajectoryToolCall] | None = None
    tool_call_id: str | None = None


class Trajectory(_Part):
    """A trajectory to judge by its messages.

    Args:
        id: the caller's own id, returned with the score and hidden from the judge.
    """

    id: str | None = Field(None, min_length=1, max_length=200)
    messages: list[TrajectoryMessage] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class TrajectoryScore:
    """``score`` is between 0 and 1, ``explanation`` one sentence by the judge."""

    score: float
    explanation: str


@dataclass(frozen=True, slots=True)
class Scored:
    """A judge's scores for trajectories.

    Args:
        scores: in the order of the trajectories.
        consistency: rank correlation of the scores of trajectories judged twice, in two orders;
            None if there are none, or all scores were equal.
    """

    scores: list[TrajectoryScore]
    consistency: float | None = None


class TrajectoryJudge(ScoringJudge):
    """Scores trajectories with one judge model."""

    instructions = _INSTRUCTIONS

    async def score(self, trajectories: Sequence[Trajectory], criteria: str) -> Scored:
        """
        Raises:
            LlmFailed: the judge is unreachable, twice gave no usable scores, or its window is too
                small. Scores so far stay in its cache.
            LlmBudgetSpent: its budget is spent.
        """
        conversations = [
            [m.model_dump(exclude_none=True) for m in t.messages] for t in trajectories
        ]
        shown = Anonymous.of(conversations)
        order = sorted(shown.attempts)
        parts = [order[start : start + _AT_ONCE] for start in range(0, len(order), _AT_ONCE)]
        parts = [smaller for part in parts for smaller in self._fitting(part, shown.attempts)]
        again = [
            part[::-1]
            for part in parts
            if len(part) > 1 and shown.rng.random() < self._config.second_order_share
        ]
        prompt = partial(_prompt, criteria=criteria)
        asks = [self._ask(shown.attempts, part, prompt) for part in (*parts, *again)]
        # Wait for all: if one fails, the others are cached for the next attempt.
        answers = await asyncio.gather(*asks, return_exceptions=True)
        scores = [_or_raise(answer) for answer in answers]
        first, second = ChainMap(*scores[: len(parts)]), ChainMap(*scores[len(parts) :])
        both = sorted(second)
        consistency = rank_correlation(
            [first[id_].score for id_ in both], [second[id_].score for id_ in both]
        )
        return Scored([_mean(first[id_], second.get(id_)) for id_ in shown.places], consistency)

    def _fitting(self, part: list[str], attempts: Attempts) -> list[list[str]]:
        """Split into parts that fill at most half the window, leaving room for the criteria."""
        room = self._config.window_tokens * 3 // 2
        parts: list[list[str]] = []
        filled = 0
        for id_ in part:
            size = len(as_data(attempts[id_]).encode())
            if not parts or filled + size > room:
                parts.append([])
                filled = 0
            parts[-1].append(id_)
            filled += size
        return parts


def _prompt(attempts: Attempts, criteria: str) -> str:
    shown = [{"id": id_, "messages": messages} for id_, messages in attempts.items()]
    return as_data({"criteria": criteria, "attempts": shown})


def _or_raise(answer: dict[str, Score] | BaseException) -> dict[str, Score]:
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _mean(first: Score, second: Score | None) -> TrajectoryScore:
    """The mean score, with the first explanation."""
    scores = [first.score] if second is None else [first.score, second.score]
    return TrajectoryScore(fmean(scores), first.explanation)
