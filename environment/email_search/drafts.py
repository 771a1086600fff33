"""Rule-based checks of drafted questions.

A draft is rejected for the first reason that applies:

- ``no_gold_mail``, ``unknown_mail``, ``several_gold_mails``: it does not cite exactly one of the
  emails shown to its writer;
- ``no_question``, ``no_answer``, ``too_long``, ``names_the_mail``, ``gives_answer_away``: unusable
  wording;
- ``not_in_gold_mail``: the email does not support the answer (see ``evidence``);
- ``asked_before_the_mail``, ``unrealistic``: nobody would have asked it then, or at all.

``environment.email_search.writer`` verifies the answer itself with a language model.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from pydantic import BaseModel, Field

from environment.email_search.evidence import stands_in
from environment.email_search.matching import content_words, is_no_answer, plain, same_value
from environment.email_search.models import Email, EmailScenario
from environment.email_search.sample.names import split_of

KIND = "llm"
_MAX_QUESTION_CHARS, _MAX_ANSWER_CHARS = 300, 200
_WORD = re.compile(r"[^\W_]+")
_MAIL = r"(?:e-?mail|mail|message|thread|correspondence)s?"
_NAMES_THE_MAIL = re.compile(
    rf"\b(?:this|that|these|those|the (?:above|following|given|provided|attached|same|first|last|"
    rf"second|third)) {_MAIL}\b|\b(?:in|of|from|by|to) the {_MAIL}\s*(?:[?.,]|$)|"
    rf"\bmail-\d+\b|<[^\s<>]+@[^\s<>]+>",
    re.IGNORECASE,
)


# Its docstring is part of the schema in the prompt.
class Draft(BaseModel):
    """A question as its writer gave it: nothing in it is checked yet."""

    question: str
    answer: str
    message_ids: list[str] = Field(description="The id of the mail that holds the answer.")
    how_realistic: float = Field(description="From 0 to 1.")
    query_date: str = Field(description="The day the question is asked, YYYY-MM-DD.")


def fault(draft: Draft, mails: Mapping[str, Email], min_realism: float) -> str:
    """The reason to reject a draft (see the module docstring), or an empty string.

    Args:
        mails: the emails shown to the writer, by the ids in its prompt.
    """
    cited = set(draft.message_ids)
    if not cited:
        return "no_gold_mail"
    if not cited <= mails.keys():
        return "unknown_mail"
    if len(cited) > 1:
        return "several_gold_mails"
    if text_fault := _text_fault(draft):
        return text_fault
    gold = mails[draft.message_ids[0]]
    if not stands_in(draft.answer, [gold]):
        return "not_in_gold_mail"
    if draft.query_date < gold.date[:10]:
        return "asked_before_the_mail"
    return "" if draft.how_realistic >= min_realism else "unrealistic"


def _text_fault(draft: Draft) -> str:
    if not draft.question.strip():
        return "no_question"
    if is_no_answer(draft.answer):
        return "no_answer"
    if len(draft.question) > _MAX_QUESTION_CHARS or len(draft.answer) > _MAX_ANSWER_CHARS:
        return "too_long"
    if _NAMES_THE_MAIL.search(draft.question):
        return "names_the_mail"
    if gives_answer_away(draft.question, draft.answer):
        return "gives_answer_away"
    return ""


def gives_answer_away(question: str, answer: str) -> bool:
    """Whether the question already contains every value and word of the answer."""
    values, words = content_words(answer)
    if not values and not words:
        return plain(answer).strip() in plain(question)
    question_values, question_words = content_words(question)
    return words.keys() <= question_words.keys() and all(
        any(same_value(value, other) for other in question_values) for value in values
    )


class Deduplicator:
    """Detects scenarios that repeat a question in the same inbox or an answer from the same
    email."""

    def __init__(self) -> None:
        self._keys: set[tuple[object, ...]] = set()

    def is_duplicate(self, scenario: EmailScenario) -> bool:
        """Whether ``scenario`` repeats an earlier one; remembers it either way."""
        values, words = content_words(scenario.answer)
        keys: set[tuple[object, ...]] = {
            (scenario.inbox_address, _normalised(scenario.question)),
            (scenario.message_ids[0], frozenset(values.items()), frozenset(words.items())),
        }
        duplicate = not keys.isdisjoint(self._keys)
        self._keys |= keys
        return duplicate


def scenario_of(draft: Draft, mails: Mapping[str, Email], inbox: str) -> EmailScenario:
    """Convert an accepted draft. Its id is a hash of its content; its inbox determines the
    split."""
    gold = mails[draft.message_ids[0]].message_id
    content = "\0".join((inbox, gold, _normalised(draft.question), plain(draft.answer)))
    digest = hashlib.blake2b(content.encode(), digest_size=8)
    return EmailScenario(
        id=f"{KIND}-{digest.hexdigest()}",
        question=draft.question.strip(),
        answer=draft.answer.strip(),
        message_ids=(gold,),
        inbox_address=inbox,
        query_date=draft.query_date,
        how_realistic=draft.how_realistic,
        split=split_of(inbox),
        kind=KIND,
    )


def _normalised(question: str) -> str:
    return " ".join(_WORD.findall(plain(question)))
