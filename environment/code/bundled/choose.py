"""Choose the tests of a composed problem: few, and between them no typical mistake gets through."""

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
    """A mistake that no candidate test finds: the recipe's parts do nothing, or not enough."""


def visible_test(recipe: Recipe, name: str, rng: random.Random) -> str:
    """A test whose result shows something: its filter keeps some elements and drops others,
    where there is such an argument."""
    unfiltered = replace(recipe, filter=ALL, k="")
    nothing = value_of(recipe.program("f"), f"f({recipe.family.empty})")
    argument = recipe.family.draw(rng)
    for _ in range(_CANDIDATES):
        found = value_of(recipe.program("f"), f"f({argument})")
        if found != nothing and (
            recipe.filter == ALL or found != value_of(unfiltered.program("f"), f"f({argument})")
        ):
            break
        argument = recipe.family.draw(rng)
    return as_test(recipe, name, argument)


def hidden_tests(
    recipe: Recipe, name: str, wrong: Mapping[str, str], rng: random.Random
) -> tuple[str, ...]:
    """Tests that between them fail every wrong program.

    Args:
        wrong: programs by the name of their mistake.

    Raises:
        TooAlike: they do not exist among the candidates, or are too many.
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
        found = candidates.pop(test)
        if (left and not found & left) or len(chosen) == _MAX_HIDDEN:
            raise TooAlike(f"{recipe.combination}: nothing tells {sorted(left)} apart")
        chosen.append(test)
        left -= found
    return tuple(chosen)


def as_test(recipe: Recipe, name: str, argument: str) -> str:
    expected = value_of(recipe.program(name), f"{name}({argument})")
    return f"assert {name}({argument}) == {expected!r}"
