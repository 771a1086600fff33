"""Problems composed of parts: filter the elements, map each, reduce them to one result.

A *recipe* is one filter, one map and one reduction from a *family* (lists of numbers, sentences,
letters, tables). Its parts determine the wording, the solution and typical mistakes, so a few lines
yield a hundred problems, and a held-out combination can only be solved by understanding its parts.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from environment.base import Split

_TEST_SHARE = 0.25
# Off-by-one variants of comparisons.
_NEIGHBOUR = {" > {k}": " >= {k}", " < {k}": " <= {k}"}


@dataclass(frozen=True, slots=True)
class Part:
    """One filter, map or reduction.

    Args:
        name: part of telling function names.
        code: a Python expression; ``{k}`` is its argument and, in a reduction, ``{items}`` the
            generator it consumes. Empty for a filter that keeps everything.
        phrases: wordings of a noun phrase; ``{it}`` is the phrase it builds on.
        slips: plausible mistakes for ``code``.
        arguments: values for ``k``, as Python literals.
    """

    name: str
    code: str
    phrases: tuple[str, ...]
    slips: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Family:
    """Recipes over one type of argument.

    Args:
        kind: its ``CodeProblem.kind``.
        variable: the argument's name in the solutions.
        loop: the comprehension clause that iterates over the argument.
        takes: wordings of the argument.
        elements: wordings of the argument's elements.
        chains: compatible (map, reduction) pairs.
        draw: draws an argument, as a Python literal.
        empty: the literal of an empty argument.
    """

    kind: str
    variable: str
    loop: str
    takes: tuple[str, ...]
    elements: tuple[str, ...]
    filters: tuple[Part, ...]
    chains: tuple[tuple[Part, Part], ...]
    draw: Callable[[random.Random], str]
    empty: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """A combination with its arguments: ``k`` for the filter and ``m`` for the map."""

    family: Family
    filter: Part
    map: Part
    reduce: Part
    k: str = ""
    m: str = ""

    @property
    def combination(self) -> str:
        return f"{self.family.kind}/{self.filter.name}/{self.map.name}/{self.reduce.name}"

    @property
    def split(self) -> Split:
        """A hash of the combination, so that no argument or wording leaks between splits."""
        digest = hashlib.sha256(self.combination.encode()).digest()
        return "test" if digest[0] < _TEST_SHARE * 256 else "train"

    def program(self, name: str) -> str:
        """The solution as a function ``name``."""
        return _render(self.family, name, self._code())

    def wrong_programs(self, name: str, expected: str) -> dict[str, str]:
        """Typical wrong programs by kind of mistake.

        Args:
            expected: the literal that the visible test expects; one wrong program hard-codes it.
        """
        right = self.program(name)
        head = right.splitlines()[-2]
        wrong = {
            label: _render(self.family, name, code) for label, code in self._mistakes().items()
        }
        wrong["by heart"] = f"{head}\n    return {expected}"
        wrong["no colon"] = right.replace("):", ")")
        wrong["no bracket"] = right[:-1]
        wrong["no return"] = right.replace("return ", "")
        if "import" in right:
            wrong["no import"] = right.partition("\n")[2]
        return wrong

    def _code(self) -> _Code:
        return _Code(
            self.filter.code.format(k=self.k), self.map.code.format(k=self.m), self.reduce.code
        )

    def _mistakes(self) -> dict[str, _Code]:
        right = self._code()
        wrong: dict[str, _Code] = {}
        if right.keep:
            wrong["no filter"] = replace(right, keep="")
        for old, new in _NEIGHBOUR.items():
            if old in self.filter.code:
                keep = self.filter.code.replace(old, new).format(k=self.k)
                wrong["comparison"] = replace(right, keep=keep)
        for number, slip in enumerate(self.filter.slips):
            wrong[f"filter {number}"] = replace(right, keep=slip.format(k=self.k))
        if self.k.isdigit():
            keep = self.filter.code.format(k=int(self.k) + 1)
            wrong["off by one"] = replace(right, keep=keep)
        for number, slip in enumerate(self.map.slips):
            wrong[f"map {number}"] = replace(right, change=slip.format(k=self.m))
        for number, slip in enumerate(self.reduce.slips):
            wrong[f"reduce {number}"] = replace(right, reduce=slip)
        return wrong


@dataclass(frozen=True, slots=True)
class _Code:
    """The expressions for the filter condition, the mapped element and the reduction."""

    keep: str
    change: str
    reduce: str


def _render(family: Family, name: str, code: _Code) -> str:
    condition = f" if {code.keep}" if code.keep else ""
    result = code.reduce.format(items=f"{code.change}{family.loop}{condition}")
    imports = "import math\n" if "math." in result else ""
    return f"{imports}def {name}({family.variable}):\n    return {result}"


def draw_recipe(family: Family, parts: tuple[Part, Part, Part], rng: random.Random) -> Recipe:
    """A recipe from these parts with random arguments."""
    k, m = (rng.choice(part.arguments) if part.arguments else "" for part in parts[:2])
    return Recipe(family, *parts, k, m)


def combinations(family: Family) -> list[tuple[Part, Part, Part]]:
    """Every compatible filter, map and reduction."""
    return [(part, *chain) for part in family.filters for chain in family.chains]
