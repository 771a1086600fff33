"""Demonstrations for the arithmetic policy: a scripted pupil.

The expert writes the sum and its value. The *habits* are what a weak pupil does: the carry or the
borrow forgotten, another operator, off by one or ten, an operand for the value. Each operator has a
habit of its own, so that even the policy's most likely answer is often wrong.
"""

from __future__ import annotations

import random

from models.pocket_math.sums import Sum

_OWN_HABIT = {"+": "no carry", "-": "no borrow", "*": "one less"}
_OWN_HABIT_SHARE = 0.6


def reply(sum_: Sum, value: int) -> str:
    """What the policy says: the sum, in whatever words it was asked for, and a value."""
    return f"{sum_.a} {sum_.operator} {sum_.b} = {value}"


def answer(sum_: Sum, rng: random.Random, good: float) -> str:
    """A reply.

    Args:
        good: the expert's share; the others follow some habit, and are wrong.
    """
    if rng.random() < good:
        return reply(sum_, sum_.value)
    wrong = wrong_values(sum_)
    own = _OWN_HABIT[sum_.operator]
    habit = own if own in wrong and rng.random() < _OWN_HABIT_SHARE else rng.choice(sorted(wrong))
    return reply(sum_, wrong[habit])


def wrong_values(sum_: Sum) -> dict[str, int]:
    """What each habit makes of a sum, where that is wrong."""
    a, b = sum_.a, sum_.b
    tens, ones = a // 10, a % 10
    habits = {
        "off by one": sum_.value + 1,
        "off by ten": sum_.value + 10,
        "an operand": b,
    }
    if sum_.operator == "+":
        habits["no carry"] = 10 * (tens + b // 10) + (ones + b % 10) % 10
        habits["minus"] = abs(a - b)
    elif sum_.operator == "-":
        habits["no borrow"] = 10 * abs(tens - b // 10) + abs(ones - b % 10)
        habits["plus"] = a + b
    else:
        habits["one less"] = a * (b - 1)
        habits["plus"] = a + b
    return {name: value for name, value in habits.items() if value != sum_.value}
