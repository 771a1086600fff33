"""Numbers as people write them."""

from __future__ import annotations

from fractions import Fraction

import pytest

from environment.prompt_task.numbers import Number, final_number, numbers_in, only_number


def values(text: str) -> list[Fraction]:
    return [number.value for _, number in numbers_in(text)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("42", 42),
        (" 42 ", 42),
        ("007", 7),
        ("-5", -5),
        ("+5", 5),
        ("−5", -5),
        ("–5", -5),
        (".5", Fraction(1, 2)),
        ("-.5", Fraction(-1, 2)),
        ("3.140", Fraction(314, 100)),
        ("0.1", Fraction(1, 10)),
        ("1,234", 1234),
        ("1,234,567.89", Fraction(123456789, 100)),
        ("12 345", None),
        ("12\u00a0345", 12345),
        ("12\u202f345\u202f678", 12345678),
        ("12'345", 12345),
        ("$1,200", 1200),
        ("-$3.50", Fraction(-7, 2)),
        ("€7", 7),
        ("1e3", 1000),
        ("2.5E-1", Fraction(1, 4)),
        ("3/4", Fraction(3, 4)),
        ("-3/4", Fraction(-3, 4)),
        ("3 / 4", Fraction(3, 4)),
        ("6/4", Fraction(3, 2)),
        ("1 1/2", Fraction(3, 2)),
        ("-1 1/2", Fraction(-3, 2)),
        (r"\frac{3}{4}", Fraction(3, 4)),
        (r"-\dfrac{ 3 }{ 4 }", Fraction(-3, 4)),
        (r"\frac{-3}{4}", Fraction(-3, 4)),
        ("5/0", None),
        ("1e9999", None),
        ("1e999999999999", None),
        ("3,14", None),
        ("1,2345", None),
        ("1,234 567", None),
        ("forty-two", None),
        ("42 apples", None),
        ("", None),
    ],
)
def test_a_number_alone(text: str, value: Fraction | int | None) -> None:
    number = only_number(text)
    assert (number and number.value) == value


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("17 + 25 = 42", [17, 25, 42]),
        ("17-5=12", [17, 5, 12]),
        ("17 - 5 = 12", [17, 5, 12]),
        ("17 - -5", [17, -5]),
        ("(3)-5", [3, 5]),
        ("x=-5", [-5]),
        ("from 3-5 to 7–9", [3, 5, 7, 9]),
        ("1, 2, and 3", [1, 2, 3]),
        ("1,2,3", [1, 2, 3]),
        ("(1,234,567)", [1234567]),
        ("3,14", [3, 14]),
        ("It is 5.", [5]),
        ("It is 5.5.", [Fraction(11, 2)]),
        ("42km, 5th", [42, 5]),
        ("H2O and x2", []),
        ("**42** and _7_", [42, 7]),
        ("on 3/4/2020", [3, 4, 2020]),
        ("1.2.3", [Fraction(6, 5)]),
        ("100/4 = 25", [25, 25]),
        ("100 / 4 = 25", [25, 25]),
        ("no number at all", []),
        ("one, two", []),
    ],
)
def test_the_numbers_of_a_text(text: str, numbers: list[Fraction | int]) -> None:
    assert values(text) == numbers


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("17 + 25 = 42", 42),
        ("42", 42),
        ("First 17, then 25. That makes 42.", 42),
        ("The answer is 42, as 6 * 7 shows.", 42),
        ("The answer to 17 + 25 is 42, not 43", 42),
        ("The answer to 1.5 + 2 is 3.5", Fraction(7, 2)),
        ("Answer: 17 + 25 = 42", 42),
        ("Answer: (17 + 25) * 2 = 42 * 2 = 84", 84),
        ("ANSWER 42", 42),
        ("Final answer: **-3/4**", Fraction(-3, 4)),
        ("The answer is 12.\nNo, wait: the answer is 13. Of 20.", 13),
        ("It is 42. That is my answer.", 42),
        ("6 * 7\n#### 42\nDone in 2 steps", 42),
        (r"so $\boxed{\frac{3}{4}}$, in 2 steps", Fraction(3, 4)),
        ("The answer is $1,234.50 in 2024", Fraction(123450, 100)),
        ("We answered 3 of 7", 7),
        ("The answer is 7/8 of 16", Fraction(7, 8)),
    ],
)
def test_the_number_that_an_answer_comes_to(text: str, value: Fraction | int) -> None:
    number = final_number(text)
    assert number is not None
    assert number.value == value


def test_words_come_to_no_number() -> None:
    assert final_number("The answer is forty-two.") is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("50%", "50%", True),
        ("50%", "0.5", True),
        ("50%", "50", True),
        ("0.5", "50%", True),
        ("50%", "5000%", False),
        ("50%", "0.5%", False),
        ("50%", "5", False),
        ("12.5 %", "1/8", True),
        (r"12.5\%", "12.5", True),
    ],
)
def test_a_percent_sign_may_be_left_out(one: str, other: str, same: bool) -> None:
    a, b = only_number(one), only_number(other)
    assert a is not None
    assert b is not None
    assert a.near(b, Fraction(0)) is b.near(a, Fraction(0)) is same


def test_the_tolerance_is_the_last_difference_that_passes() -> None:
    number = Number(Fraction(10))
    assert number.near(Number(Fraction(21, 2)), Fraction(1, 2))
    assert not number.near(Number(Fraction(1051, 100)), Fraction(1, 2))


@pytest.mark.parametrize(
    "text",
    [
        "9" * 100_000,
        "1," * 50_000,
        "1/" * 50_000,
        "1 " * 50_000,
        "1e" * 50_000,
        "-" * 100_000,
        "answer " * 20_000,
        "answer" + "=" * 100_000,
        "answer is 1+" * 5_000,
        "\\frac{" * 20_000,
    ],
    ids=lambda text: text[:12],
)
def test_a_hostile_text_is_read_too(text: str) -> None:
    # Whatever comes of it: a reading that took the square of the length would not end here.
    assert len(numbers_in(text)) <= len(text)
    final_number(text)
