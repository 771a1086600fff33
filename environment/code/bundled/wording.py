"""Phrases a recipe in words and names its function."""

from __future__ import annotations

import random

from environment.code.bundled.recipes import Recipe

_FRAMES = (
    "Write a function {name} that takes {takes} and returns {result}.",
    "Define {name}: it gets {takes} and returns {result}.",
    "Given {takes}, {name} must return {result}.",
    "From {takes}, compute {result}. Call the function {name}.",
    "The function {name} takes {takes}. It returns {result}.",
)
_ONSETS = ("b", "br", "d", "dr", "f", "g", "gl", "k", "l", "m", "n", "p", "r", "s", "st", "t", "z")
_VOWELS = ("a", "e", "i", "o", "u", "ai", "oo")
_ENDINGS = ("", "", "n", "r", "l", "x", "m")
_PLAIN = ("solve", "compute", "answer", "result", "helper", "process", "build", "find", "task")


def text_of(recipe: Recipe, name: str, rng: random.Random) -> str:
    """One of many wordings of the task."""
    it = rng.choice(recipe.family.elements)
    for part, k in ((recipe.filter, recipe.k), (recipe.map, recipe.m), (recipe.reduce, "")):
        it = rng.choice(part.phrases).format(it=it, k=k)
    takes = rng.choice(recipe.family.takes)
    return rng.choice(_FRAMES).format(name=name, takes=takes, result=it)


def name_of(recipe: Recipe, rng: random.Random) -> str:
    """A function name: descriptive, generic or meaningless."""
    roll = rng.random()
    if roll < 0.3:
        parts = (recipe.filter.name, recipe.map.name, recipe.reduce.name)
        # Always include the filter: a function called ``max`` would shadow the builtin.
        return "_".join(part for part in parts if part != "plain")
    if roll < 0.5:
        return f"{rng.choice(_PLAIN)}{rng.choice(('', '_it', f'_{rng.randint(1, 99)}'))}"
    return made_up(rng)


def made_up(rng: random.Random) -> str:
    """A meaningless name such as ``drooza_lin``."""
    words = ("".join(_syllable(rng) for _ in range(2)) for _ in range(rng.randint(1, 2)))
    return "_".join(words)


def _syllable(rng: random.Random) -> str:
    return rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_ENDINGS)
