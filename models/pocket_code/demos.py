"""Demonstrations for the code policy: a scripted programmer in the *refine* style.

The expert writes the solution. The *habits* are what a weak programmer does: the neighbouring
comparison, a forgotten filter or map, another reduction, a slip of the syntax, the visible test's
value by heart. Each family and reduction has a habit of its own, so that even the policy's most
likely program is often wrong, and a failed attempt is mostly followed by another. Nothing here uses
a combination of the test split.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from environment.code import prompts
from environment.code.bundled.choose import visible_test
from environment.code.bundled.families import FAMILIES
from environment.code.bundled.recipes import Recipe, combinations, draw_recipe
from environment.code.bundled.trusted import FAULTS, value_of
from environment.code.bundled.wording import name_of, text_of
from models.pocket_code.tokenizer import MAX_ATTEMPTS

# By reduction; where a recipe has no such mistake, the next one.
_HABITS = {
    "sum": ("no filter", "map 0"),
    "max": ("reduce 1", "no filter"),
    "min": ("comparison", "reduce 0"),
    "list": ("map 0", "no filter"),
    "sorted": ("reduce 0", "map 0"),
    "product": ("no import",),
    "count": ("comparison", "filter 0", "by heart"),
    "spaced": ("by heart",),
    "dashed": ("filter 0", "map 0"),
    "joined": ("no colon",),
    "distinct": ("reduce 0",),
}
_OWN_HABIT = 0.6
_STUMBLES = 0.3


class Turn(NamedTuple):
    """An attempt and, if it failed the visible test, what that said. ``learn``: worth imitating."""

    program: str
    feedback: str
    learn: bool


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One episode."""

    recipe: Recipe
    user_prompt: str
    turns: tuple[Turn, ...]


def feedback_of(program: str, test: str) -> str:
    """What the grader says about a program of ours and a test of the form ``assert f(…) == …``;
    empty if it holds."""
    call, _, expected = test.removeprefix("assert ").partition(" == ")
    try:
        value = value_of(program, call)
    except SyntaxError as error:
        return f"SyntaxError: {error.msg} (line {error.lineno})"
    except FAULTS as error:
        return f"{call} raised {type(error).__name__}: {error}"
    return "" if repr(value) == expected else f"{call} is {value!r}, not {expected}"


def demonstrate(recipe: Recipe, rng: random.Random, good: float, recovers: float) -> Demonstration:
    """One episode.

    Args:
        good: the expert's share of the first attempts; the others follow some habit.
        recovers: what is left of that share after a failure.
    """
    name = name_of(recipe, rng)
    test = visible_test(recipe, name, rng)
    wrong = recipe.wrong_programs(name, test.partition(" == ")[2])
    right = recipe.program(name)
    turns: list[Turn] = []

    def attempt(program: str, learn: bool) -> bool:
        turns.append(Turn(program, feedback_of(program, test), learn))
        return not turns[-1].feedback

    passed = False
    if rng.random() < _STUMBLES:
        # Not imitated, so that the policy sees how to go on from a mistake.
        passed = attempt(wrong[rng.choice(sorted(wrong))], learn=False)
    habit = ""
    while not passed and len(turns) < MAX_ATTEMPTS:
        if rng.random() < (good * recovers if turns else good):
            passed = attempt(right, learn=True)
            continue
        habit = habit or _habit(recipe, wrong, rng)
        passed = attempt(wrong[habit], learn=True)
    return Demonstration(recipe, prompts.task(text_of(recipe, name, rng), (test,)), tuple(turns))


def _habit(recipe: Recipe, wrong: dict[str, str], rng: random.Random) -> str:
    own = next((habit for habit in _HABITS[recipe.reduce.name] if habit in wrong), None)
    if own and rng.random() < _OWN_HABIT:
        return own
    return rng.choice(sorted(wrong))


def recipes(rng: random.Random) -> Iterator[Recipe]:
    """Endless recipes of the train split, every family as often as it has combinations."""
    every = [(family, parts) for family in FAMILIES for parts in combinations(family)]
    while True:
        recipe = draw_recipe(*rng.choice(every), rng)
        if recipe.split == "train":
            yield recipe
