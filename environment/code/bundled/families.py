"""The families of composed problems: numbers, words, letters and tables."""

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

_SMALL = tuple(str(n) for n in range(2, 16))
_PRODUCT = Part(
    "product",
    "math.prod({items})",
    ("the product of {it}", "{it}, all multiplied together"),
    ("sum({items})",),
)


def _comparisons(x: str, are: str) -> tuple[Part, ...]:
    """Integer filters; ``x`` is the element and ``are`` its verb phrase."""
    return (
        Part("even", f"{x} % 2 == 0", (f"{{it}} {are} even",), (f"{x} % 2 == 1", f"{x} % 2")),
        Part("odd", f"{x} % 2 == 1", (f"{{it}} {are} odd",), (f"{x} % 2 == 0",)),
        Part(
            "above",
            f"{x} > {{k}}",
            (f"{{it}} {are} greater than {{k}}", f"{{it}} {are} above {{k}}"),
            (),
            _SMALL,
        ),
        Part(
            "below",
            f"{x} < {{k}}",
            (f"{{it}} {are} less than {{k}}", f"{{it}} {are} below {{k}}"),
            (),
            _SMALL,
        ),
        Part(
            "multiples",
            f"{x} % {{k}} == 0",
            (f"{{it}} {are} divisible by {{k}}", f"{{it}} {are} a multiple of {{k}}"),
            (f"{x} % {{k}} == 1", f"{x} % {{k}}", f"{x} // {{k}} == 0"),
            ("3", "4", "5", "6", "7"),
        ),
    )


def _arithmetic(x: str) -> tuple[Part, ...]:
    """Integer maps."""
    return (
        Part("plain", x, ("{it}",)),
        Part("doubled", f"{x} * 2", ("{it}, each doubled", "twice each of {it}"), (x, f"{x} ** 2")),
        Part("squared", f"{x} ** 2", ("the squares of {it}", "{it}, squared"), (x, f"{x} * 2")),
        Part(
            "plus",
            f"{x} + {{k}}",
            ("{it}, each plus {k}", "{it}, each increased by {k}"),
            (x, f"{x} - {{k}}"),
            TINY,
        ),
        Part(
            "times",
            f"{x} * {{k}}",
            ("{it}, each times {k}", "{it}, each multiplied by {k}"),
            (x, f"{x} + {{k}}"),
            ("3", "4", "5", "6"),
        ),
        Part("negated", f"-{x}", ("the negatives of {it}", "{it}, each negated"), (x,)),
    )


def _numbers(rng: random.Random) -> str:
    low, high = rng.choice(((-9, 20), (0, 20), (-9, 9)))
    return str([rng.randint(low, high) for _ in range(rng.randint(3, 6))])


NUMBERS = Family(
    kind="numbers",
    variable="xs",
    loop=" for x in xs",
    takes=("a list of numbers", "a list of integers", "some numbers xs"),
    elements=("the numbers", "its numbers"),
    filters=(
        ALL,
        *_comparisons("x", "that are"),
        Part("positive", "x > 0", ("{it} that are positive",), ("x >= 0", "x < 0")),
        Part("negative", "x < 0", ("{it} that are negative",), ("x <= 0", "x > 0")),
    ),
    chains=(
        *cross(_arithmetic("x"), (SUM, MAX, MIN, LIST, SORTED, _PRODUCT)),
        (Part("plain", "x", ("{it}",)), COUNT),
    ),
    draw=_numbers,
    empty="[]",
)


def _table(rng: random.Random) -> str:
    names = rng.sample(VOCABULARY, rng.randint(2, 4))
    return str({name: rng.randint(0, 20) for name in names})


_KEY = Part("keys", "k", ("the names of {it}", "the keys of {it}"), ("v",))
_KEY_UPPER = Part("upper", "k.upper()", ("the names of {it}, in capitals",), ("k",))
_VALUE = Part("values", "v", ("the values of {it}",), ("k",))
_VALUE_DOUBLED = Part("doubled", "v * 2", ("the values of {it}, each doubled",), ("v", "v ** 2"))
_VALUE_PLUS = Part("plus", "v + {k}", ("the values of {it}, each plus {k}",), ("v",), TINY)

TABLES = Family(
    kind="tables",
    variable="d",
    loop=" for k, v in d.items()",
    takes=("a dict of names and numbers", "a dict d from names to numbers"),
    elements=("the entries", "its entries"),
    filters=(ALL, *_comparisons("v", "whose value is")),
    chains=(
        *cross((_KEY, _KEY_UPPER), (LIST, SORTED, DASHED)),
        *cross((_VALUE, _VALUE_DOUBLED, _VALUE_PLUS), (SUM, MAX, MIN, SORTED)),
        (_KEY, COUNT),
    ),
    draw=_table,
    empty="{}",
)


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

FAMILIES = (NUMBERS, WORDS, LETTERS, TABLES)
