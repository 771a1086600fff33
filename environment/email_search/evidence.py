"""Does an answer stand in the mails that it cites, and where?

The check is of words, as in ``matching``: every value of the answer (number, amount, date, code)
must be in the cited mails, and at least half of its words. It cannot tell a wrong reading of the
right mail, but an answer that was made up does not pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from environment.email_search.matching import STOP_WORDS, content_words, plain, same_value
from environment.email_search.models import Email

# Letters may carry accents as characters of their own.
_WORD = re.compile("(?:[^\\W_][\u0300-\u036f]*)+")
_POSSESSIVE = re.compile("['’]s\\b", re.IGNORECASE)
_ORDINAL = re.compile(r"(\d+)(?:st|nd|rd|th)")
_BESIDE = 3
# No value may be read across the end of a field: "Dinner in May", "3 people come".
_APART = "\n|\n"


def stands_in(answer: str, mails: Iterable[Email]) -> bool:
    values, words = content_words(answer)
    if not values and not words:
        return False
    cited = _APART.join(_text(mail) for mail in mails)
    cited_values, cited_words = content_words(cited)
    if not all(any(same_value(value, other) for other in cited_values) for value in values):
        return False
    return 2 * sum(word in cited_words for word in words) >= len(words)


def _text(mail: Email) -> str:
    people = " ".join((mail.sender, *mail.to, *mail.cc))
    return _APART.join((mail.date[:10], people, mail.subject, mail.body))


def marks(answer: str, text: str) -> list[tuple[int, int]]:
    """Where words of ``answer`` stand in ``text``: ranges of characters, in order, words that
    stand side by side in one."""
    wanted = {_key(word) for word in _WORD.findall(_POSSESSIVE.sub(" ", answer))} - STOP_WORDS
    found: list[tuple[int, int]] = []
    for match in _WORD.finditer(text):
        if _key(match[0]) not in wanted:
            continue
        start, end = match.span()
        if found and start - found[-1][1] <= _BESIDE:
            start = found.pop()[0]
        found.append((start, end))
    return found


def _key(word: str) -> str:
    word = plain(word)
    ordinal = _ORDINAL.fullmatch(word)
    return ordinal[1] if ordinal else word
