"""Chooses a composed problem's tests: few, but together they catch every typical mistake."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

from environment.code.bundled.parts import ALL
from environment.code.bundled.recipes import Recipe
from environment.code.bundled.trusted import holds, value_of

_CANDIDATES = 60
_MIN_HIDDEN, _MAX_HIDDEN = 4, 6


class TooAlike(ValueError):
    """No candidate test catches a mistake: the recipe's parts have too little effect."""


def visible_test(recipe: Recipe, name: str, rng: random.Random) -> str:
    """A telling test: if possible, the filter keeps some elements and drops others."""
    unfiltered = replace(recipe, filter=ALL, k="")
    nothing = value_of(recipe.program("f"), f"f({recipe.family.empty})")
    argument = recipe.family.draw(rng)
    for _ in range(_CANDIDATES):
        value = value_of(recipe.program("f"), f"f({argument})")
        if value != nothing and (
            recipe.filter == ALL or value != value_of(unfiltered.program("f"), f"f({argument})")
        ):
            break
        argument = recipe.family.draw(rng)
    return as_test(recipe, name, argument)


def hidden_tests(
    recipe: Recipe, name: str, wrong: Mapping[str, str], rng: random.Random
) -> tuple[str, ...]:
    """Tests that together fail every wrong program (greedy set cover).

    Args:
        wrong: programs by the name of their mistake.

    Raises:
        TooAlike: the candidates do not suffice, or too many are needed.
    """
    arguments = [recipe.family.empty, *(recipe.family.draw(rng) for _ in range(_CANDIDATES))]
    candidates = {
        test: {label for label, program in wrong.items() if not holds(program, test)}
        for test in (as_test(recipe, name, argument) for argument in arguments)
    }
    chosen: list[str] = []
    left = set(wrong)
    while left or len(chosen) < _MIN_HIDDEN:
        test = max(candidates, key=lambda test: len(candidates[test] & left))
        caught = candidates.pop(test)
        if (left and not caught & left) or len(chosen) == _MAX_HIDDEN:
            raise TooAlike(f"{recipe.combination}: no test catches {sorted(left)}")
        chosen.append(test)
        left -= caught
    return tuple(chosen)


def as_test(recipe: Recipe, name: str, argument: str) -> str:
    expected = value_of(recipe.program(name), f"{name}({argument})")
    return f"assert {name}({argument}) == {expected!r}"
