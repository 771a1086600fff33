"""Checks whether the cited emails support an answer, and where.

The check is lexical, as in ``matching``: the cited emails must contain every value of the answer
(number, amount, date, code) and at least half of its words. This rejects made-up answers, but not
a misreading of the right email.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from environment.email_search.matching import STOP_WORDS, content_words, plain, same_value
from environment.email_search.models import Email

# Accents may be separate combining characters.
_WORD = re.compile("(?:[^\\W_][\u0300-\u036f]*)+")
_POSSESSIVE = re.compile("['’]s\\b", re.IGNORECASE)
_ORDINAL = re.compile(r"(\d+)(?:st|nd|rd|th)")
_MAX_GAP = 3
# Keeps values from spanning two fields: "Dinner in May", "3 people come".
_SEPARATOR = "\n|\n"


def stands_in(answer: str, mails: Iterable[Email]) -> bool:
    values, words = content_words(answer)
    if not values and not words:
        return False
    cited = _SEPARATOR.join(_text(mail) for mail in mails)
    cited_values, cited_words = content_words(cited)
    if not all(any(same_value(value, other) for other in cited_values) for value in values):
        return False
    return 2 * sum(word in cited_words for word in words) >= len(words)


def _text(mail: Email) -> str:
    people = " ".join((mail.sender, *mail.to, *mail.cc))
    return _SEPARATOR.join((mail.date[:10], people, mail.subject, mail.body))


def marks(answer: str, text: str) -> list[tuple[int, int]]:
    """Character ranges of ``text`` that contain words of ``answer``, in order; adjacent words
    share one range."""
    words = {_key(word) for word in _WORD.findall(_POSSESSIVE.sub(" ", answer))} - STOP_WORDS
    ranges: list[tuple[int, int]] = []
    for match in _WORD.finditer(text):
        if _key(match[0]) not in words:
            continue
        start, end = match.span()
        if ranges and start - ranges[-1][1] <= _MAX_GAP:
            start = ranges.pop()[0]
        ranges.append((start, end))
    return ranges


def _key(word: str) -> str:
    word = plain(word)
    ordinal = _ORDINAL.fullmatch(word)
    return ordinal[1] if ordinal else word
