"""Tests are taken apart such that what they expect stays outside."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environment.code.assertions import NotSeparable, take_apart


@pytest.mark.parametrize(
    ("test", "calls", "rest"),
    [
        ("assert f(1) == 2", ("f(1)",), "_0 == 2"),
        ("assert f(1, [2]) == f(3)", ("f(1, [2])", "f(3)"), "_0 == _1"),
        ("assert set(f((3, 4))) == set((4, 3))", ("f((3, 4))",), "set(_0) == set((4, 3))"),
        ("assert f([Pair(1, 2)], 4) == 3", ("f([Pair(1, 2)], 4)",), "_0 == 3"),
        ("assert Stack().push(1).top() == 1", ("Stack().push(1).top()",), "_0 == 1"),
        ("assert math.isclose(f(2), 0.5)", ("f(2)",), "math.isclose(_0, 0.5)"),
        ("assert not f('a')", ("f('a')",), "not _0"),
        ("assert f(2)[0] == 1, 'the first'", ("f(2)[0]",), "_0 == 1"),
        ("assert all(x > 0 for x in f(3))", ("f(3)",), "all((x > 0 for x in _0))"),
        ("assert f(max([1, 2])) == 2", ("f(max([1, 2]))",), "_0 == 2"),
        ("assert 2 == f(1)", ("f(1)",), "2 == _0"),
        ("assert Stack().is_empty()", ("Stack().is_empty()",), "_0"),
        ("assert f(2).bit_length() == 3", ("f(2).bit_length()",), "_0 == 3"),
    ],
)
def test_the_calls_of_the_program_are_split_off(
    test: str, calls: tuple[str, ...], rest: str
) -> None:
    parts = take_apart(test, "import math")
    assert (parts.calls, parts.rest) == (calls, rest)


@pytest.mark.parametrize(
    "test",
    [
        "assert all(f(x) == y for x, y in [(1, 2)])",
        "assert [f(x) for x in (1, 2)] == [1, 2]",
        "assert (lambda x: f(x))(1) == 2",
        "assert 1 == 1",
        "assert math.pi > 3",
        "assert f(3).issubset({1, 2, 3})",
        "assert not f(3).__ne__(4)",
        "assert (lambda *xs, **named: f(xs))(1) == 2",
    ],
)
def test_what_cannot_be_split_is_refused(test: str) -> None:
    with pytest.raises(NotSeparable):
        take_apart(test, "import math")


def test_a_name_of_the_setup_is_not_the_programs_unless_the_solution_binds_it() -> None:
    assert take_apart("assert helper(f(1)) == 2", "def helper(x): return x").calls == ("f(1)",)
    with pytest.raises(NotSeparable):
        take_apart("assert sum([1, 2]) == 3", "")
    parts = take_apart("assert sum([1, 2]) == 3", "", solution="def sum(xs): return 3")
    assert parts.calls == ("sum([1, 2])",)


@pytest.mark.parametrize("setup", ["", "import math"])
def test_what_the_solution_imports_is_not_the_programs(setup: str) -> None:
    solution = "import math\ndef f(x): return math.sqrt(x)"
    parts = take_apart("assert math.isclose(f(2), 1.41, rel_tol=0.1)", setup, solution)
    assert (parts.calls, parts.rest) == (("f(2)",), "math.isclose(_0, 1.41, rel_tol=0.1)")


def test_a_broken_solution_binds_nothing() -> None:
    assert take_apart("assert f(1) == 2", "", solution="def f(:").calls == ("f(1)",)


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("assert f(1) == [2]", "[2]"),
        ("assert f(1) != 2", None),
        ("assert f(1) == 2 == 3", None),
        ("assert g(f(1)) == 2", "2"),
        ("assert len(f(1)) == 2", None),
        ("assert f(1)", None),
    ],
)
def test_what_a_test_expects_is_known_where_it_is_a_comparison(
    test: str, expected: str | None
) -> None:
    expression = take_apart(test, "").expected
    assert (ast.unparse(expression) if expression else None) == expected


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=6,
)


@given(argument=VALUES, expected=VALUES)
def test_nothing_that_is_expected_reaches_the_sandbox(argument: object, expected: object) -> None:
    parts = take_apart(f"assert f({argument!r}) == {expected!r}", "")
    assert [
        ast.literal_eval(ast.parse(call, mode="eval").body.args[0]) for call in parts.calls
    ] == [  # type: ignore[attr-defined]
        argument
    ]
    assert parts.expected is not None
    assert ast.literal_eval(parts.expected) == expected
