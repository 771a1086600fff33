"""Small sums and the ways to ask for them.

One in ten is never taught, so that what the policy can do is not what it knows by heart.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass

_NAMES = ("Ann", "Ben", "Cara", "David", "Emma", "Frank", "Grace", "Henry", "Maria", "Tom")
_THINGS = ("apples", "books", "cards", "coins", "eggs", "flowers", "marbles", "pens", "stamps")
_SYMBOL_FRAMES = (
    "What is {sum}?",
    "What is {sum}?",
    "Calculate {sum}.",
    "Compute {sum}.",
    "How much is {sum}?",
    "Solve: {sum}",
    "{sum} = ?",
    "{sum}",
)
_SYMBOLS = {
    "+": ("+", "+", "+", "plus"),
    "-": ("-", "-", "-", "minus"),
    "*": ("*", "x", "×", "times"),
}
_STORIES = {
    "+": (
        "Add {a} and {b}.",
        "What is the sum of {a} and {b}?",
        "{name} has {a} {things} and buys {b} more. How many {things} does {name} have now?",
        "{name} has {a} {things} and finds {b} more. How many {things} are there in total?",
    ),
    "-": (
        "Subtract {b} from {a}.",
        "What is the difference between {a} and {b}?",
        "{name} has {a} {things} and gives away {b}. How many {things} are left?",
        "{name} had {a} {things} and lost {b}. How many {things} does {name} have left?",
    ),
    "*": (
        "Multiply {a} by {b}.",
        "What is the product of {a} and {b}?",
        "{name} buys {a} boxes of {b} {things} each. How many {things} are there in total?",
        "There are {a} bags with {b} {things} each. How many {things} are there?",
    ),
}
_STORY_SHARE = 0.35
_TIGHT = 0.15  # of the sums in symbols: "17+25"
_LARGEST, _LARGEST_FACTOR = 99, 12
_OPERATORS, _SHARES = ("+", "-", "*"), (45, 35, 20)
_NOT_TAUGHT = 10  # one of so many


@dataclass(frozen=True, slots=True)
class Sum:
    """``a operator b``; a difference is never below zero."""

    a: int
    operator: str
    b: int

    @property
    def value(self) -> int:
        if self.operator == "+":
            return self.a + self.b
        return self.a - self.b if self.operator == "-" else self.a * self.b

    @property
    def taught(self) -> bool:
        digest = hashlib.blake2b(repr((self.a, self.operator, self.b)).encode(), digest_size=4)
        return int.from_bytes(digest.digest()) % _NOT_TAUGHT != 0


def draw_sum(rng: random.Random) -> Sum:
    """A sum of two numbers up to 99, or a product of two up to 12."""
    (operator,) = rng.choices(_OPERATORS, _SHARES)
    most = _LARGEST_FACTOR if operator == "*" else _LARGEST
    a, b = rng.randint(1, most), rng.randint(1, most)
    return Sum(max(a, b), operator, min(a, b)) if operator == "-" else Sum(a, operator, b)


def question(sum_: Sum, rng: random.Random) -> str:
    """One of the ways to ask for it."""
    if rng.random() < _STORY_SHARE:
        story = rng.choice(_STORIES[sum_.operator])
        name, things = rng.choice(_NAMES), rng.choice(_THINGS)
        return story.format(a=sum_.a, b=sum_.b, name=name, things=things)
    symbol = rng.choice(_SYMBOLS[sum_.operator])
    tight = len(symbol) == 1 and rng.random() < _TIGHT
    written = f"{sum_.a}{symbol}{sum_.b}" if tight else f"{sum_.a} {symbol} {sum_.b}"
    return rng.choice(_SYMBOL_FRAMES).format(sum=written)
