"""Parses numbers as people write them.

Exact arithmetic: numbers are fractions, nothing is rounded.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from fractions import Fraction

_MAX_EXPONENT = 300  # bounds the memory of a fraction, which grows with its value
# A sign belongs to a number unless it follows another number ("17-5") or a word.
_SIGN = r"(?:(?<![\w)\]}.])[-+\u2212\u2013])?"
_CURRENCY = r"[$\u20ac\u00a3\u00a5]?"
# Thousands separators: a comma, an apostrophe, a narrow or a non-breaking space.
_WHOLE = r"(?:\d{1,3}(?:(?P<mark>[,'\u2019\u00a0\u202f])\d{3}(?:(?P=mark)\d{3})*)(?!\d)|\d{1,400})"
_DECIMAL = rf"(?:{_WHOLE}(?:\.\d{{1,400}})?|\.\d{{1,400}})(?:[eE][-+]?\d{{1,4}}(?!\w))?"
_NUMBER = re.compile(
    rf"""
    (?<![^\W_]) (?<!\d\.)                       # not within a word: H2O
    (?P<sign>{_SIGN}) {_CURRENCY}
    (?:
        \\[dt]?frac \{{ \s* (?P<top>[-\u2212]?\d{{1,400}}) \s* \}}
                    \{{ \s* (?P<bottom>\d{{1,400}}) \s* \}}
      | (?<!\d/) (?<!\d/[ ]) (?: (?P<units>\d{{1,400}}) [ ]+ )? (?P<over>\d{{1,400}}) [ ]? / [ ]? (?P<under>\d{{1,400}})
        (?! [ ]? / [ ]? \d | [.,]?\d )          # not a date
      | (?P<decimal>{_DECIMAL})
    )
    (?P<percent> [ ]? \\?% )?
    """,
    re.VERBOSE | re.ASCII,
)
# "The answer to 1.5 + 2 is": up to the word or sign before the number, within one sentence.
_ANNOUNCED = re.compile(
    r"\banswer\b(?:(?:[^.\n]|\.(?=\d)){0,80}?(?:\bis\b|[:=]))?|####|\\boxed", re.IGNORECASE
)
# The left-hand side of an equation: "17 + 25 =".
_LEFT_SIDE = re.compile(r"(?:[ \t\d.,+*x/()\[\]{}^$\\\u00d7\u00f7\u00b7\u2212\u2013-]*+=)++")


@dataclass(frozen=True, slots=True)
class Number:
    """A number as written: the value of ``50%`` is 50."""

    value: Fraction
    percent: bool = False

    def near(self, other: Number, tolerance: Fraction) -> bool:
        """Whether the two are equal within ``tolerance``. If only one has a percent sign, 50% equals
        both 50 and one half."""
        if abs(self.value - other.value) <= tolerance:
            return True
        if self.percent == other.percent:
            return False
        ours, theirs = (n.value / 100 if n.percent else n.value for n in (self, other))
        return abs(ours - theirs) <= tolerance


def final_number(text: str) -> Number | None:
    """The number that an answer arrives at: the first after the last ``answer``, ``####`` or
    ``\\boxed`` that is followed by one (for an equation, its value), otherwise the last number."""
    placed = numbers_in(text)
    starts = [start for start, _ in placed]
    for announced in reversed(list(_ANNOUNCED.finditer(text))):
        left = _LEFT_SIDE.match(text, announced.end())
        first = bisect_left(starts, left.end() if left else announced.end())
        if first < len(placed):
            return placed[first][1]
    return placed[-1][1] if placed else None


def numbers_in(text: str) -> list[tuple[int, Number]]:
    """All numbers with their start positions. A comma that does not separate thousands separates
    two numbers: ``3,14``."""
    numbers = ((match.start(), _read(match)) for match in _NUMBER.finditer(text))
    return [(start, number) for start, number in numbers if number is not None]


def only_number(text: str) -> Number | None:
    """The number that makes up the whole text, or None."""
    match = _NUMBER.fullmatch(text.strip())
    return _read(match) if match else None


def _read(match: re.Match[str]) -> Number | None:
    """None if the number is invalid: a zero denominator, an excessive exponent."""
    if match["top"]:
        value = _ratio(match["top"].replace("\u2212", "-"), match["bottom"])
    elif match["over"]:
        value = _ratio(match["over"], match["under"])
        if value is not None and match["units"]:
            value += int(match["units"])
    else:
        value = _decimal(match["decimal"])
    if value is None:
        return None
    negative = match["sign"] not in ("", "+")
    return Number(-value if negative else value, percent=bool(match["percent"]))


def _ratio(top: str, bottom: str) -> Fraction | None:
    return Fraction(int(top), int(bottom)) if int(bottom) else None


def _decimal(text: str) -> Fraction | None:
    plain = re.sub(r"[,'\u2019\u00a0\u202f]", "", text)
    _, _, exponent = plain.lower().partition("e")
    if exponent and abs(int(exponent)) > _MAX_EXPONENT:
        return None
    return Fraction(plain)
