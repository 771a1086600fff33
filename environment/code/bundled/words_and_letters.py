"""The families of sentences and of strings of characters."""

from __future__ import annotations

import random

from environment.code.bundled.parts import (
    ALL,
    COUNT,
    DASHED,
    LIST,
    MAX,
    MIN,
    SORTED,
    SUM,
    TINY,
    VOCABULARY,
    cross,
)
from environment.code.bundled.recipes import Family, Part


def _sentence(rng: random.Random) -> str:
    return repr(" ".join(rng.choice(VOCABULARY) for _ in range(rng.randint(3, 5))))


_WORD = Part("plain", "w", ("{it}",))
_WORD_MAPS = (
    _WORD,
    Part("upper", "w.upper()", ("{it} in upper case", "{it}, in capitals"), ("w", "w.lower()")),
    Part("reversed", "w[::-1]", ("{it}, each reversed", "{it} spelled backwards"), ("w",)),
    Part("title", "w.title()", ("{it}, each with a capital first letter",), ("w", "w.upper()")),
    Part("first", "w[0]", ("the first letters of {it}",), ("w", "w[-1]")),
    Part("last", "w[-1]", ("the last letters of {it}",), ("w", "w[0]")),
)
_LENGTH = Part("lengths", "len(w)", ("the lengths of {it}",), ("len(w) + 1", "len(s)"))
_SPACED = Part(
    "spaced",
    "' '.join({items})",
    ("{it}, joined by spaces", "a string of {it} with spaces between"),
    ("''.join({items})", "[{items}]"),
)
_SOME_LETTERS = tuple(repr(letter) for letter in "aeioprstl")

WORDS = Family(
    kind="words",
    variable="s",
    loop=" for w in s.split()",
    takes=("a sentence", "a string of words", "a text s"),
    elements=("the words", "its words"),
    filters=(
        ALL,
        Part("long", "len(w) > {k}", ("{it} longer than {k} letters",), ("len(s) > {k}",), TINY),
        Part("short", "len(w) < {k}", ("{it} shorter than {k} letters",), ("len(s) < {k}",), TINY),
        Part(
            "starting",
            "w.startswith({k})",
            ("{it} that start with {k}", "{it} beginning with {k}"),
            ("w.endswith({k})", "{k} in w"),
            _SOME_LETTERS,
        ),
        Part(
            "ending",
            "w.endswith({k})",
            ("{it} that end with {k}", "{it} ending in {k}"),
            ("w.startswith({k})", "{k} in w"),
            _SOME_LETTERS,
        ),
        Part(
            "with",
            "{k} in w",
            ("{it} that contain {k}", "{it} with {k} in them"),
            ("{k} not in w", "w.startswith({k})"),
            _SOME_LETTERS,
        ),
        Part(
            "without",
            "{k} not in w",
            ("{it} that do not contain {k}", "{it} without {k} in them"),
            ("{k} in w",),
            _SOME_LETTERS,
        ),
    ),
    chains=(
        *cross(_WORD_MAPS, (LIST, SORTED, _SPACED, DASHED)),
        *cross((_LENGTH,), (SUM, MAX, MIN, LIST, SORTED)),
        (_WORD, COUNT),
    ),
    draw=_sentence,
    empty="''",
)


def _letters(rng: random.Random) -> str:
    pieces = [rng.choice(VOCABULARY) for _ in range(rng.randint(1, 2))]
    pieces.append(str(rng.randint(1, 990)))
    rng.shuffle(pieces)
    text = rng.choice(("", " ", "-")).join(pieces)
    return repr("".join(c.upper() if rng.random() < 0.3 else c for c in text))


_JOINED = Part(
    "joined",
    "''.join({items})",
    ("a string of {it}", "{it}, joined to a string"),
    ("' '.join({items})", "[{items}]"),
)
_DISTINCT = Part(
    "distinct",
    "len(set({items}))",
    ("how many different ones there are of {it}", "the number of different ones of {it}"),
    ("len([{items}])",),
)
_CHARACTER = Part("plain", "c", ("{it}",))
_CHARACTER_MAPS = (
    _CHARACTER,
    Part("upper", "c.upper()", ("{it} in upper case", "{it}, in capitals"), ("c", "c.lower()")),
    Part("lower", "c.lower()", ("{it} in lower case",), ("c", "c.upper()")),
    Part("doubled", "c * 2", ("{it}, each written twice",), ("c", "c * 3")),
)

LETTERS = Family(
    kind="letters",
    variable="s",
    loop=" for c in s",
    takes=("a string", "a string s", "a text"),
    elements=("the characters", "its characters"),
    filters=(
        ALL,
        Part(
            "vowels",
            "c in 'aeiouAEIOU'",
            ("{it} that are vowels",),
            ("c in 'aeiou'", "c not in 'aeiouAEIOU'"),
        ),
        Part("digits", "c.isdigit()", ("{it} that are digits",), ("c.isalpha()",)),
        Part("letters", "c.isalpha()", ("{it} that are letters",), ("c.isalnum()", "c.isdigit()")),
        Part("capital", "c.isupper()", ("{it} that are capitals",), ("c.islower()",)),
        Part("small", "c.islower()", ("{it} that are small letters",), ("c.isupper()",)),
        Part("other", "c != {k}", ("{it} other than {k}",), ("c == {k}",), _SOME_LETTERS),
    ),
    chains=(
        *cross(_CHARACTER_MAPS, (_JOINED, LIST, SORTED)),
        (_CHARACTER, COUNT),
        (_CHARACTER, _DISTINCT),
        (_CHARACTER_MAPS[2], _DISTINCT),
    ),
    draw=_letters,
    empty="''",
)
