"""Turns a model's keywords into a safe FTS5 query, and bodies into snippets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

MAX_KEYWORDS = 16
MAX_KEYWORD_CHARS = 100
# Bounds the part of a body that is split into words.
_LEAD_CHARS, _CHARS_PER_WORD = 200, 40
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class BadQuery(ValueError):
    """An invalid search; the message tells the model how to fix it."""


def clean(text: str) -> str:
    """Replace lone surrogates, which SQLite rejects."""
    return _LONE_SURROGATE.sub(" ", text)


def keyword_phrases(keywords: object) -> list[str]:
    """Quote a model's keywords, of any type, as FTS5 phrases.

    A scalar counts as one keyword. Drops None, anything without a letter or digit, and everything
    after the first ``MAX_KEYWORDS``; truncates long keywords.

    Raises:
        BadQuery: nothing is left to search for.
    """
    if keywords is None or isinstance(keywords, (str, int, float)):
        keywords = [keywords]
    if not isinstance(keywords, Iterable):
        raise BadQuery("keywords must be a list of words")
    phrases: list[str] = []
    for keyword in keywords:
        text = "" if keyword is None else str(keyword)
        text = clean(text.replace("\0", " "))[:MAX_KEYWORD_CHARS]
        if any(character.isalnum() for character in text):
            phrases.append('"' + text.replace('"', '""') + '"')
        if len(phrases) == MAX_KEYWORDS:
            break
    if not phrases:
        raise BadQuery("no keyword to search for: give one or more words")
    return phrases


def first_words(phrases: Sequence[str]) -> list[str]:
    """The first word of each phrase, in lower case."""
    matches = (re.search(r"[^\W_]+", phrase) for phrase in phrases)
    return sorted({match[0].lower() for match in matches if match})


def snippet(body: str, words: Sequence[str], length: int) -> str:
    """``length`` words of ``body`` around the first word that starts with one of ``words``, or its
    beginning if none does."""
    lowered = _lower(body)
    places = [place for word in words if (place := _find_word_start(lowered, word)) >= 0]
    at = min(places, default=0)
    lead = body[max(0, at - _LEAD_CHARS) : at].split()[-(length // 3) :]
    return " ".join([*lead, *body[at : at + length * _CHARS_PER_WORD].split()][:length])


def _lower(text: str) -> str:
    """Lower-case without moving any character: a few letters would expand to two."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(low if len(low := letter.lower()) == 1 else letter for letter in text)


def _find_word_start(text: str, word: str) -> int:
    """Index of the first word that starts with ``word``, or -1. A regular expression took half of
    the total search time here."""
    place = text.find(word)
    while place > 0 and text[place - 1].isalnum():
        place = text.find(word, place + 1)
    return place
