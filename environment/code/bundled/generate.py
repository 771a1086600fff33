"""Write the bundled problems: ``python -m environment.code.bundled.generate``.

Composed problems come from recipes, using each combination at most once; the hand-written ones are
copied as they are.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from pathlib import Path

from environment.base import Split
from environment.code.bundled.choose import TooAlike, hidden_tests, visible_test
from environment.code.bundled.families import FAMILIES
from environment.code.bundled.recipes import Family, Recipe, combinations, draw_recipe
from environment.code.bundled.wording import name_of, text_of
from environment.code.bundled.written import WRITTEN
from environment.code.models import CodeProblem

PATH = Path(__file__).parent / "problems.jsonl"
_SEED = 0
_DRAWS = 6
# Composed problems per family.
SIZES: dict[Split, dict[str, int]] = {
    "train": {"numbers": 80, "words": 40, "letters": 20, "tables": 20},
    "test": {"numbers": 60, "words": 36, "letters": 16, "tables": 20},
}


def composed(recipe: Recipe, identifier: str, rng: random.Random) -> CodeProblem:
    """A problem from a recipe.

    Raises:
        TooAlike: a typical mistake would pass all tests.
    """
    name = name_of(recipe, rng)
    shown = visible_test(recipe, name, rng)
    wrong = recipe.wrong_programs(name, shown.partition(" == ")[2])
    return CodeProblem(
        id=identifier,
        split=recipe.split,
        text=text_of(recipe, name, rng),
        visible_tests=(shown,),
        hidden_tests=hidden_tests(recipe, name, wrong, rng),
        solution=recipe.program(name),
        kind=recipe.family.kind,
    )


def _of_family(
    family: Family, split: Split, size: int, rng: random.Random
) -> Iterator[CodeProblem]:
    """Problems from combinations in random order, skipping those for which no drawn arguments let
    the tests catch every mistake."""
    parts = combinations(family)
    rng.shuffle(parts)
    count = 0
    for combination in parts:
        for _ in range(_DRAWS):
            recipe = draw_recipe(family, combination, rng)
            if recipe.split != split or count == size:
                break
            try:
                yield composed(recipe, f"{split}-{family.kind}-{count + 1}", rng)
            except TooAlike:
                continue
            count += 1
            break
    if count < size:
        raise ValueError(f"{family.kind} has {count} combinations for {split}, not {size}")


def generate() -> list[CodeProblem]:
    """All problems, deterministically."""
    problems: list[CodeProblem] = []
    for split, sizes in SIZES.items():
        for family in FAMILIES:
            rng = random.Random(f"{_SEED} {split} {family.kind}")
            problems += _of_family(family, split, sizes[family.kind], rng)
    return problems + [written.problem(number) for number, written in enumerate(WRITTEN, 1)]


def as_text(problems: list[CodeProblem]) -> str:
    return "".join(problem.model_dump_json() + "\n" for problem in problems)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=PATH)
    arguments = parser.parse_args()
    arguments.out.write_text(as_text(generate()), encoding="utf-8")


if __name__ == "__main__":
    main()
