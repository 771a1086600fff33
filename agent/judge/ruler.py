"""RULER: a judge compares the rollouts of a group and scores each between 0 and 1.

After OpenPipe's RULER (https://art.openpipe.ai/fundamentals/ruler), plus checks that ART 0.5.18's
lacks: of ids, order and scores, see ``agent.judge.scores``. A failed judgement is never a reward: it
raises ``LlmFailed``, and the trainer drops and counts the group.

Rollouts are untrusted data. An email that asks for a good score reaches the judge quoted inside
JSON, after a warning, and cannot know the id to name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any

from agent.judge.ranks import rank_correlation
from agent.judge.scores import SCORING, Anonymous, Attempts, ScoringJudge
from agent.judge.window import Conversation
from environment.language_model import as_data

_RUBRIC = """\
- An agent that reached its goal scores clearly higher than one that did not.
- Among those that reached it, the one that did so with fewer detours scores higher.
- Slightly better means a slightly higher score, much better a much higher one.
- Progress towards the goal without reaching it deserves some of the score.
- A wrong answer given with confidence is worse than admitting not to know."""
_INSTRUCTIONS = f"""\
You compare several attempts of an agent at the same task and give each a score from 0 to 1.

{_RUBRIC}

{SCORING}"""


@dataclass(frozen=True, slots=True)
class Judged:
    """A judge's scores for a group.

    Args:
        scores: between 0 and 1, in the order of the rollouts.
        consistency: rank correlation of the scores in two orders of the rollouts; None if judged
            only once, or if all scores in one order were equal.
    """

    scores: list[float]
    consistency: float | None = None


class RulerJudge(ScoringJudge):
    """Scores groups of rollouts with one judge model."""

    instructions = _INSTRUCTIONS

    async def score(
        self, conversations: Sequence[Conversation], tools: Sequence[Mapping[str, Any]]
    ) -> Judged:
        """Score conversations, each the messages of a rollout in OpenAI's format.

        Raises:
            LlmFailed: the judge is unreachable, twice gave no usable scores, or its window is too
                small.
            LlmBudgetSpent: its budget is spent.
        """
        shown = Anonymous.of(conversations)
        ids = list(shown.attempts)
        prompt = partial(_prompt, tools=tools)
        first = await self._ask(shown.attempts, sorted(ids), prompt)
        scores = {id_: first[id_].score for id_ in ids}
        if shown.rng.random() >= self._config.second_order_share:
            return Judged([scores[id_] for id_ in shown.places])
        second = await self._ask(shown.attempts, sorted(ids, reverse=True), prompt)
        consistency = rank_correlation([scores[i] for i in ids], [second[i].score for i in ids])
        means = {id_: fmean((scores[id_], second[id_].score)) for id_ in ids}
        return Judged([means[id_] for id_ in shown.places], consistency)


def _prompt(attempts: Attempts, tools: Sequence[Mapping[str, Any]]) -> str:
    """Show the attempts in order, with their common prefix once."""
    conversations = list(attempts.values())
    shared = 0
    while all(len(c) > shared and c[shared] == conversations[0][shared] for c in conversations):
        shared += 1
    shared = min(shared, min(map(len, conversations)) - 1)
    return as_data(
        {
            "task": conversations[0][:shared],
            "tools": tools,
            "attempts": [{"id": id_, "messages": c[shared:]} for id_, c in attempts.items()],
        }
    )
