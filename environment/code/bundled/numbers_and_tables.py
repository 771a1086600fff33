"""The families of lists of numbers and of tables from names to numbers."""

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
    """Filters of whole numbers, where ``x`` is one of them and ``are`` says so in words."""
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
    """Maps of whole numbers."""
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
