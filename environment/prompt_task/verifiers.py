"""Compare an answer with the example's. Each verifier is a pure function.

Patterns are untrusted and may take forever to match. Hence the ``regex`` module matches them, which
supports a timeout; ``re`` does not. To bound memory as well, a pattern must be valid for ``re``,
which excludes recursion, and must not nest repetitions, which ``regex`` expands when compiling.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction
from re import _parser  # type: ignore[attr-defined]
from typing import Any, Literal

import regex

from environment.base import WorldFailed
from environment.prompt_task.numbers import final_number, only_number

VerifierName = Literal["exact", "numeric", "regex", "contains"]
_MAX_PATTERN_CHARS = 500
_MAX_PATTERN_ITEMS = 100_000  # compiles in milliseconds
_PATTERN_SECONDS = 0.5  # an ordinary match takes microseconds
_MAX_ANSWER_CHARS = 20_000  # numeric and regex read only the end of a longer answer


class PatternTooSlow(WorldFailed):
    """Matching a pattern timed out, so the answer cannot be verified."""

    kind = "slow_pattern"


def fault_of(verifier: VerifierName, answer: str | None) -> str:
    """Why a reference answer cannot be used for verification, or an empty string."""
    if answer is None or not answer.strip():
        return "it has no answer to verify against"
    if verifier == "numeric" and only_number(answer) is None:
        return f"its answer {answer[:60]!r} is not a number"
    if verifier == "regex":
        if len(answer) > _MAX_PATTERN_CHARS:
            return f"its pattern is longer than {_MAX_PATTERN_CHARS} characters"
        try:
            re.compile(answer)
            if _expanded_size(_parser.parse(answer)) > _MAX_PATTERN_ITEMS:
                return f"its pattern {answer[:60]!r} nests too many repetitions"
            regex.compile(answer)
        except (re.error, regex.error, OverflowError, RecursionError) as error:
            return f"its answer {answer[:60]!r} is not a Python regular expression: {error}"
    return ""


def verify(
    verifier: VerifierName,
    answer: str,
    reference: str,
    *,
    ignore_case: bool = False,
    tolerance: float = 0.0,
) -> bool:
    """
    Args:
        reference: an answer without fault (see ``fault_of``).

    Raises:
        PatternTooSlow: matching timed out, for ``regex`` only.
    """
    if verifier == "exact":
        return exact(answer, reference, ignore_case)
    if verifier == "contains":
        return contains(answer, reference, ignore_case)
    if verifier == "numeric":
        return numeric(answer, reference, tolerance)
    return matches(answer, reference, ignore_case)


def exact(answer: str, reference: str, ignore_case: bool = False) -> bool:
    """Whether the texts are equal, ignoring white space."""
    return _plain(answer, ignore_case) == _plain(reference, ignore_case)


def contains(answer: str, reference: str, ignore_case: bool = False) -> bool:
    """Whether the answer contains the reference, ignoring white space."""
    return _plain(reference, ignore_case) in _plain(answer, ignore_case)


def numeric(answer: str, reference: str, tolerance: float = 0.0) -> bool:
    """Whether the answer's final number equals the reference, within an absolute tolerance."""
    actual, expected = final_number(answer[-_MAX_ANSWER_CHARS:]), only_number(reference)
    return bool(actual and expected and actual.near(expected, Fraction(tolerance)))


def matches(answer: str, pattern: str, ignore_case: bool = False) -> bool:
    """Whether the pattern occurs in the answer.

    Raises:
        PatternTooSlow: matching timed out.
    """
    flags = regex.IGNORECASE if ignore_case else 0
    text = answer[-_MAX_ANSWER_CHARS:]
    try:
        return bool(regex.search(pattern, text, flags=flags, timeout=_PATTERN_SECONDS))
    except TimeoutError as error:
        raise PatternTooSlow(
            f"the pattern {pattern[:60]!r} took longer than {_PATTERN_SECONDS:g} s"
        ) from error


def _expanded_size(pattern: Any) -> int:
    """The approximate number of items ``regex`` compiles a parsed pattern to: it expands a group's
    minimum number of repetitions, twice."""
    count = 0
    for operator, value in pattern:
        parts = value if isinstance(value, tuple | list) else [value]
        flat = [part for p in parts for part in (p if isinstance(p, list) else [p])]
        inside = [part for part in flat if isinstance(part, _parser.SubPattern)]
        size = 1 + sum(map(_expanded_size, inside))
        if str(operator).endswith("_REPEAT") and size > 2:  # single characters are not expanded
            size *= max(1, 2 * value[0])
        count += size
    return count


def _plain(text: str, ignore_case: bool) -> str:
    """Normalise to composed letters and single spaces."""
    plain = " ".join(unicodedata.normalize("NFC", text).split())
    return plain.casefold() if ignore_case else plain
