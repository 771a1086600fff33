"""The bundled problems: what a report says about them must be true of every one."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from environment.code.bundled import problems
from environment.code.bundled.choose import TooAlike, hidden_tests
from environment.code.bundled.families import FAMILIES, NUMBERS
from environment.code.bundled.generate import PATH, as_text, generate
from environment.code.bundled.recipes import Recipe, combinations, draw_recipe
from environment.code.bundled.trusted import holds, value_of
from environment.code.bundled.wording import name_of, text_of
from environment.code.bundled.written import WRITTEN
from environment.code.bundled.written.problem import Written
from environment.code.models import CodeProblem

PROBLEMS = problems()
COMPOSED = {family.kind: family for family in FAMILIES}


def recipes_of(problem: CodeProblem) -> list[Recipe]:
    """The recipes whose solution is the problem's."""
    family = COMPOSED[problem.kind]
    name = problem.visible_tests[0].removeprefix("assert ").partition("(")[0]
    return [
        recipe
        for parts in combinations(family)
        for k in parts[0].arguments or ("",)
        for m in parts[1].arguments or ("",)
        if (recipe := Recipe(family, *parts, k, m)).program(name) == problem.solution
    ]


def by_heart(problem: CodeProblem) -> str:
    """A program that knows the visible test's value and nothing else."""
    name, _, rest = problem.visible_tests[0].removeprefix("assert ").partition("(")
    return f"def {name}(*_):\n    return {rest.rpartition(' == ')[2]}"


def test_the_file_is_what_the_generator_writes() -> None:
    assert PATH.read_text(encoding="utf-8") == as_text(generate())


def test_there_are_enough_of_every_degree() -> None:
    splits = Counter(problem.split for problem in PROBLEMS)
    kinds = Counter(problem.kind for problem in PROBLEMS)
    assert splits["train"] >= 120
    assert splits["test"] >= 120
    assert sum(kinds[kind] for kind in ("easy", "medium", "hard")) >= 24
    assert set(kinds) == {*COMPOSED, "easy", "medium", "hard"}
    for kind in kinds:
        assert {problem.split for problem in PROBLEMS if problem.kind == kind} == {"train", "test"}


def test_ids_and_tasks_are_unique() -> None:
    for values in ([p.id for p in PROBLEMS], [(p.text, p.visible_tests) for p in PROBLEMS]):
        assert len(set(values)) == len(values)


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.id)
def test_the_solution_passes_and_the_visible_value_by_heart_does_not(problem: CodeProblem) -> None:
    assert len(problem.visible_tests) == 1
    assert 3 <= len(problem.hidden_tests) <= 6
    assert problem.visible_tests[0] not in problem.hidden_tests
    for test in (*problem.visible_tests, *problem.hidden_tests):
        assert holds(problem.solution, test)
    assert holds(by_heart(problem), problem.visible_tests[0])
    assert not all(holds(by_heart(problem), test) for test in problem.hidden_tests)


@pytest.mark.parametrize(
    "problem", [p for p in PROBLEMS if p.kind in COMPOSED], ids=lambda problem: problem.id
)
def test_every_typical_mistake_fails_a_hidden_test(problem: CodeProblem) -> None:
    name, _, expected = problem.visible_tests[0].removeprefix("assert ").partition("(")
    (recipe,) = recipes_of(problem)
    wrong = recipe.wrong_programs(name, expected.partition(" == ")[2])
    assert len(wrong) >= 4
    passing = [
        mistake
        for mistake, program in wrong.items()
        if all(holds(program, test) for test in problem.hidden_tests)
    ]
    assert not passing


@pytest.mark.parametrize("written", WRITTEN, ids=lambda written: written.visible)
def test_every_wrong_program_of_a_written_problem_fails_a_hidden_test(written: Written) -> None:
    assert written.wrong
    for program in written.wrong:
        compile(program, "<wrong>", "exec")
        assert not all(holds(program, test) for test in written.hidden)


def test_no_combination_of_the_test_split_occurs_in_train() -> None:
    combinations_of: dict[str, set[str]] = {"train": set(), "test": set()}
    for problem in PROBLEMS:
        if problem.kind in COMPOSED:
            for recipe in recipes_of(problem):
                assert recipe.split == problem.split
                combinations_of[problem.split].add(recipe.combination)
    assert not combinations_of["train"] & combinations_of["test"]


def test_every_part_of_a_test_problem_is_shown_in_train() -> None:
    for family in FAMILIES:
        every = [draw_recipe(family, parts, random.Random(0)) for parts in combinations(family)]
        for part in ("filter", "map", "reduce"):
            shown, held = (
                {getattr(recipe, part).name for recipe in every if recipe.split == split}
                for split in ("train", "test")
            )
            assert held <= shown


@pytest.mark.parametrize(
    ("kind", "parts", "k", "m", "call", "expected"),
    [
        ("numbers", ("above", "squared", "sum"), "3", "", "f([3, 4, 5])", 41),
        ("numbers", ("multiples", "plus", "product"), "4", "2", "f([8, 3, 4])", 60),
        ("numbers", ("negative", "negated", "max"), "", "", "f([-2, 7, -5, 0])", 5),
        ("numbers", ("negative", "negated", "max"), "", "", "f([7])", 0),
        ("words", ("starting", "reversed", "dashed"), "'t'", "", "f('tea oat tin')", "aet-nit"),
        ("words", ("long", "lengths", "list"), "3", "", "f('one three four')", [5, 4]),
        ("letters", ("vowels", "lower", "joined"), "", "", "f('Apple IO')", "aeio"),
        ("letters", ("letters", "plain", "distinct"), "", "", "f('aba-1')", 2),
        (
            "tables",
            ("below", "upper", "sorted"),
            "5",
            "",
            "f({'b': 1, 'a': 4, 'c': 5})",
            list("AB"),
        ),
        ("tables", ("odd", "doubled", "min"), "", "", "f({'b': 1, 'a': 3})", 2),
    ],
)
def test_a_recipe_means_what_its_parts_say(
    kind: str, parts: tuple[str, ...], k: str, m: str, call: str, expected: object
) -> None:
    family = COMPOSED[kind]
    (combination,) = [c for c in combinations(family) if tuple(part.name for part in c) == parts]
    assert value_of(Recipe(family, *combination, k, m).program("f"), call) == expected


def test_a_wording_names_the_function_and_its_arguments() -> None:
    rng = random.Random(3)
    for family in FAMILIES:
        for parts in combinations(family):
            recipe = draw_recipe(family, parts, rng)
            name = name_of(recipe, rng)
            text = text_of(recipe, name, rng)
            assert name in text
            assert recipe.k in text
            assert recipe.m in text
            assert "{" not in text


def test_a_recipe_whose_parts_change_nothing_gets_no_tests() -> None:
    parts = {part.name: part for combination in combinations(NUMBERS) for part in combination}
    recipe = Recipe(NUMBERS, parts["all"], parts["plain"], parts["sum"])
    same = {"nothing": recipe.program("f")}
    with pytest.raises(TooAlike):
        hidden_tests(recipe, "f", same, random.Random(0))
