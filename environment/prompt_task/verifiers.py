"""Does an answer say what the example's own answer says? Each verifier is a pure function.

A pattern comes from whoever sends the examples, and may be made to run for ever. So it is one of
Python's own ``re``, but matched by the ``regex`` module, which stops after a given time where ``re``
cannot be stopped. What ``regex`` can beyond that (recursion) would take memory without end, and so
would repetitions within repetitions, which it writes out as it compiles them.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction
from re import _parser  # type: ignore[attr-defined]  # what reads a pattern for re itself
from typing import Any, Literal

import regex

from environment.base import WorldFailed
from environment.prompt_task.numbers import final_number, only_number

VerifierName = Literal["exact", "numeric", "regex", "contains"]
_LONGEST_PATTERN = 500
_MOST_WRITTEN_OUT = 100_000  # which compiles in milliseconds
_PATTERN_SECONDS = 0.5  # of one match; an ordinary one takes microseconds
_READ_CHARACTERS = 20_000  # of an answer's end, for what takes longer than looking for a text


class PatternTooSlow(WorldFailed):
    """Matching a pattern took longer than it may: the example says nothing about this answer."""

    kind = "slow_pattern"


def fault_of(verifier: VerifierName, answer: str | None) -> str:
    """Why nothing can be verified against this reference answer; empty if it can."""
    if answer is None or not answer.strip():
        return "it has no answer to verify against"
    if verifier == "numeric" and only_number(answer) is None:
        return f"its answer {answer[:60]!r} is no number"
    if verifier == "regex":
        if len(answer) > _LONGEST_PATTERN:
            return f"its pattern is longer than {_LONGEST_PATTERN} characters"
        try:
            re.compile(answer)
            if _written_out(_parser.parse(answer)) > _MOST_WRITTEN_OUT:
                return f"its pattern {answer[:60]!r} repeats repetitions too often"
            regex.compile(answer)
        except (re.error, regex.error, OverflowError, RecursionError) as error:
            return f"its answer {answer[:60]!r} is no regular expression of Python's: {error}"
    return ""


def verify(
    verifier: VerifierName,
    said: str,
    answer: str,
    *,
    ignore_case: bool = False,
    tolerance: float = 0.0,
) -> bool:
    """
    Args:
        said: what the agent answered.
        answer: the reference, in which ``fault_of`` finds none.

    Raises:
        PatternTooSlow: it cannot be told in time, for ``regex`` alone.
    """
    if verifier == "exact":
        return exact(said, answer, ignore_case)
    if verifier == "contains":
        return contains(said, answer, ignore_case)
    if verifier == "numeric":
        return numeric(said, answer, tolerance)
    return matches(said, answer, ignore_case)


def exact(said: str, answer: str, ignore_case: bool = False) -> bool:
    """The same text, but for its white space."""
    return _plain(said, ignore_case) == _plain(answer, ignore_case)


def contains(said: str, answer: str, ignore_case: bool = False) -> bool:
    """The reference stands anywhere in the answer, but for white space."""
    return _plain(answer, ignore_case) in _plain(said, ignore_case)


def numeric(said: str, answer: str, tolerance: float = 0.0) -> bool:
    """The number that the answer comes to is the reference's; of a very long one, in its end.

    Args:
        tolerance: by how much it may be off.
    """
    given, wanted = final_number(said[-_READ_CHARACTERS:]), only_number(answer)
    return bool(given and wanted and given.near(wanted, Fraction(tolerance)))


def matches(said: str, pattern: str, ignore_case: bool = False) -> bool:
    """The pattern is found in the answer; of a very long one, in its end.

    Raises:
        PatternTooSlow: it cannot be told in time.
    """
    flags = regex.IGNORECASE if ignore_case else 0
    text = said[-_READ_CHARACTERS:]
    try:
        return bool(regex.search(pattern, text, flags=flags, timeout=_PATTERN_SECONDS))
    except TimeoutError as error:
        raise PatternTooSlow(
            f"the pattern {pattern[:60]!r} took longer than {_PATTERN_SECONDS:g} s"
        ) from error


def _written_out(pattern: Any) -> int:
    """About how many items ``regex`` makes of a pattern that ``re`` has read: it writes out the least
    number of repetitions of a group, twice."""
    count = 0
    for operator, value in pattern:
        parts = value if isinstance(value, tuple | list) else [value]
        flat = [part for p in parts for part in (p if isinstance(p, list) else [p])]
        inside = [part for part in flat if isinstance(part, _parser.SubPattern)]
        size = 1 + sum(map(_written_out, inside))
        if str(operator).endswith("_REPEAT") and size > 2:  # else of one character, as in a{9}
            size *= max(1, 2 * value[0])
        count += size
    return count


def _plain(text: str, ignore_case: bool) -> str:
    """One form of what looks the same: composed letters, single spaces."""
    plain = " ".join(unicodedata.normalize("NFC", text).split())
    return plain.casefold() if ignore_case else plain
