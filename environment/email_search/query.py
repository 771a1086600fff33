"""The text side of a search: a model's keywords as a safe query, and snippets of what was found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

MAX_KEYWORDS = 16
MAX_KEYWORD_CHARS = 100
# A snippet begins a little before the keyword; a window of this many characters holds it.
_LEAD_CHARS, _CHARS_PER_WORD = 200, 40
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class BadQuery(ValueError):
    """A search that cannot be run as asked; the text says what to change."""


def clean(text: str) -> str:
    """Without lone surrogates, which SQLite cannot take."""
    return _LONE_SURROGATE.sub(" ", text)


def keyword_phrases(keywords: object) -> list[str]:
    """A model's keywords as quoted FTS5 phrases, whatever it sent.

    A single string counts as one keyword. Dropped: None, whatever has no letter or digit, and
    what follows the first ``MAX_KEYWORDS``. Long keywords are cut.

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
    found = (re.search(r"[^\W_]+", phrase) for phrase in phrases)
    return sorted({match[0].lower() for match in found if match})


def snippet(body: str, words: Sequence[str], length: int) -> str:
    """``length`` words of the body from a little before the first of ``words`` that begins a word
    of it; its start if none does."""
    lowered = _lower(body)
    places = [place for word in words if (place := _find_word_start(lowered, word)) >= 0]
    at = min(places, default=0)
    lead = body[max(0, at - _LEAD_CHARS) : at].split()[-(length // 3) :]
    return " ".join([*lead, *body[at : at + length * _CHARS_PER_WORD].split()][:length])


def _lower(text: str) -> str:
    """In lower case, every character at its old place; a few letters would become two."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(low if len(low := letter.lower()) == 1 else letter for letter in text)


def _find_word_start(text: str, word: str) -> int:
    """Where ``word`` first stands at the start of a word; -1 if nowhere. A regular expression for
    this took half the time of a whole search."""
    place = text.find(word)
    while place > 0 and text[place - 1].isalnum():
        place = text.find(word, place + 1)
    return place
