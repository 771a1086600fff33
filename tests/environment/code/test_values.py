"""Values come back from the sandbox as what they were, or not at all."""

from __future__ import annotations

import json
import math
from collections import Counter, OrderedDict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environment.code.driver import encode
from environment.code.values import NotPlain, decode

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text()
    | st.binary()
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
        | st.sets(st.integers() | st.text(), max_size=4)
        | st.frozensets(st.integers(), max_size=4)
    ),
    max_leaves=12,
)


def there_and_back(value: object) -> Any:
    return decode(json.loads(json.dumps(encode(value))))


@given(VALUES)
def test_a_plain_value_comes_back_as_it_was(value: object) -> None:
    returned = there_and_back(value)
    assert returned == value
    assert type(returned) is type(value)


def test_numbers_of_any_size_come_back() -> None:
    assert there_and_back(-(7**40_000)) == -(7**40_000)
    assert math.isnan(there_and_back(math.nan))
    assert there_and_back([math.inf, -0.0]) == [math.inf, -0.0]


class Liar(int):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


def test_a_subclass_comes_back_as_what_it_stands_on() -> None:
    assert type(there_and_back(Liar(3))) is int
    assert there_and_back(Liar(3)) != 4
    assert there_and_back(Counter("aab")) == {"a": 2, "b": 1}
    assert type(there_and_back(OrderedDict(a=1))) is dict


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (object(), "a object"),
        (print, "a builtin_function_or_method"),
        (nested(60), "a value nested too deep"),
    ],
)
def test_what_is_not_plain_is_named(value: object, message: str) -> None:
    with pytest.raises(NotPlain, match=message):
        there_and_back(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from("tvx"), inner),
)
TAGGED = st.fixed_dictionaries(
    {
        "t": st.sampled_from(
            ["int", "float", "complex", "bytes", "list", "tuple", "set", "frozenset", "dict"]
        ),
        "v": JSON,
    }
)


@given(JSON | TAGGED)
def test_a_forged_report_is_a_value_or_none(report: object) -> None:
    try:
        decode(report)
    except NotPlain:
        return


def test_a_report_nested_without_end_is_none() -> None:
    report: object = 1
    for _ in range(200):
        report = {"t": "list", "v": [report]}
    with pytest.raises(NotPlain):
        decode(report)
