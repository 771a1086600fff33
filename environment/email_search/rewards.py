"""The email agent's reward: four rungs, plus shaping within each.

    rung   outcome
    -2     malformed tool call
    -1     wrong answer
     0     no answer: "I don't know", out of turns, plain text instead of a call, over length
    +1     right answer

The order is ART-E's (OpenPipe, "ART·E", 2025): admitting ignorance must pay more than guessing,
and a malformed call must be worse than both. Shaping is smaller than the step between rungs: it
ranks rollouts within a rung but never lifts one to the next.
"""

from __future__ import annotations

from environment.base import Reward, StopReason
from environment.email_search.matching import answers_match, is_no_answer
from environment.email_search.models import EmailOutcome, EmailScenario

_MALFORMED, _WRONG, _NONE, _RIGHT = -2.0, -1.0, 0.0, 1.0
_FOUND, _READ, _CITED, _CITED_ONLY_GOLD = 0.1, 0.1, 0.2, 0.1
_FEW_TURNS, _TOOL_ERROR, _MAX_TOOL_ERRORS = 0.1, 0.05, 4

VERDICTS = {
    "right": "the right answer",
    "wrong_answer": "an answer that differs from the gold answer",
    "gave_up": "the agent said it does not know",
}
METRICS = {
    "found_gold": "a search returned the gold email",
    "read_gold": "the agent read the gold email",
    "source_precision": "fraction of cited emails that are gold",
    "source_recall": "fraction of gold emails that are cited",
    "searches": "searches",
    "tool_errors": "rejected tool calls",
}


def email_reward(scenario: EmailScenario, outcome: EmailOutcome, max_turns: int) -> Reward:
    gold = set(scenario.message_ids)
    cited = set(outcome.source_ids)
    found_gold, read_gold = bool(gold & outcome.found_ids), bool(gold & outcome.read_ids)
    answer = outcome.answer
    answered = answer is not None and not is_no_answer(answer)
    right = answer is not None and answered and answers_match(answer, scenario.answer)

    if outcome.stop is StopReason.MALFORMED_CALL:
        rung, reason = _MALFORMED, "malformed_call"
    elif right:
        rung, reason = _RIGHT, "right"
    elif answered:
        rung, reason = _WRONG, "wrong_answer"
    elif answer is not None:
        rung, reason = _NONE, "gave_up"
    else:
        rung, reason = _NONE, str(outcome.stop)

    shaping = _FOUND * found_gold + _READ * read_gold
    shaping -= _TOOL_ERROR * min(outcome.tool_errors, _MAX_TOOL_ERRORS)
    if answered:
        shaping += _CITED * bool(gold & cited) + _CITED_ONLY_GOLD * (cited == gold)
    if right:
        shaping += _FEW_TURNS * (1 - outcome.turns / max_turns)
    return Reward(
        value=rung + shaping,
        success=rung == _RIGHT,
        reason=reason,
        metrics={
            "found_gold": float(found_gold),
            "read_gold": float(read_gold),
            "source_precision": len(gold & cited) / len(cited) if cited else 0.0,
            "source_recall": len(gold & cited) / len(gold),
            "searches": float(outcome.searches),
            "tool_errors": float(outcome.tool_errors),
        },
        cites_source=bool(gold & cited),
    )
