"""Each verifier, right answers and wrong ones that look right."""

from __future__ import annotations

import pytest

from environment.prompt_task.verifiers import (
    PatternTooSlow,
    VerifierName,
    contains,
    exact,
    fault_of,
    matches,
    numeric,
    verify,
)


@pytest.mark.parametrize(
    ("said", "answer", "ignore_case", "same"),
    [
        ("Paris", "Paris", False, True),
        ("  New \n  York\t", "New York", False, True),
        ("NewYork", "New York", False, False),
        ("paris", "Paris", False, False),
        ("paris", "Paris", True, True),
        ("STRASSE", "straße", True, True),
        ("Paris.", "Paris", False, False),
        ("It is Paris", "Paris", False, False),
        ("cafe\u0301", "caf\u00e9", False, True),
        ("cafe", "caf\u00e9", False, False),
        ("", "Paris", False, False),
    ],
)
def test_exact(said: str, answer: str, ignore_case: bool, same: bool) -> None:
    assert exact(said, answer, ignore_case) is same


@pytest.mark.parametrize(
    ("said", "answer", "ignore_case", "matched"),
    [
        ("It is Paris.", "Paris", False, True),
        ("It is New\n York.", "New York", False, True),
        ("It is paris.", "Paris", False, False),
        ("It is paris.", "Paris", True, True),
        ("It is Rome.", "Paris", True, False),
        ("", "Paris", True, False),
    ],
)
def test_contains(said: str, answer: str, ignore_case: bool, matched: bool) -> None:
    assert contains(said, answer, ignore_case) is matched


@pytest.mark.parametrize(
    ("said", "answer", "tolerance", "right"),
    [
        ("17 + 25 = 42", "42", 0, True),
        ("17 + 25 = 42", "17", 0, False),
        ("17 + 25 = 42", "-42", 0, False),
        ("1,000 dollars", "1000", 0, True),
        ("The answer is 0.5, of 7", "1/2", 0, True),
        ("one half is 50%", "0.5", 0, True),
        ("0.30000000000000004", "0.3", 1e-6, True),
        ("0.30000000000000004", "0.3", 0, False),
        ("0.333", "1/3", 0.001, True),
        ("0.33", "1/3", 0.001, False),
        ("123456789012345678901", "123456789012345678900", 0, False),
        ("I do not know", "42", 1e9, False),
    ],
)
def test_numeric(said: str, answer: str, tolerance: float, right: bool) -> None:
    assert numeric(said, answer, tolerance) is right


@pytest.mark.parametrize(
    ("said", "pattern", "ignore_case", "matched"),
    [
        ("Order A-17 is late", r"[A-Z]-\d+", False, True),
        ("order a-17", r"[A-Z]-\d+", False, False),
        ("order a-17", r"[A-Z]-\d+", True, True),
        ("yes", r"^(yes|no)$", False, True),
        ("yes and no", r"^(yes|no)$", False, False),
        ("x" * 50_000 + " END", r"END$", False, True),
    ],
)
def test_regex(said: str, pattern: str, ignore_case: bool, matched: bool) -> None:
    assert matches(said, pattern, ignore_case) is matched


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (r"(a|aa)+$", "a" * 200 + "b"),
        (r"^(([a-z])+.)+[A-Z]([a-z])+$", "a" * 5_000),
        (r"((a{1,9999}){1,9999}){1,9999}b", "a" * 5_000),
        (r"(.|a)*(.|a)*(.|a)*b", "a,b" + "a" * 10_000),
        (r"(?:(a)|b|(aa))*+c|(?:.?.?.?)*z", "a" * 20_000),
    ],
)
def test_a_pattern_made_to_run_for_ever_is_stopped(pattern: str, said: str) -> None:
    with pytest.raises(PatternTooSlow, match="took longer than"):
        matches(said, pattern)


def test_each_name_is_its_verifier() -> None:
    said, answer = "It is 4.0", "4"
    names: tuple[VerifierName, ...] = ("exact", "numeric", "regex", "contains")
    assert [verify(name, said, answer) for name in names] == [False, True, True, True]
    assert not verify("exact", "YES", "yes")
    assert verify("exact", "YES", "yes", ignore_case=True)
    assert verify("contains", "YES!", "yes", ignore_case=True)
    assert verify("regex", "YES", "^y", ignore_case=True)
    assert not verify("numeric", "4.2", "4")
    assert verify("numeric", "4.2", "4", tolerance=0.25)


@pytest.mark.parametrize(
    ("verifier", "answer", "fault"),
    [
        ("exact", None, "no answer to verify against"),
        ("contains", " \n", "no answer to verify against"),
        ("numeric", "about 5", "'about 5' is not a number"),
        ("numeric", "5/0", "is not a number"),
        ("regex", "(", "not a Python regular expression"),
        ("regex", "(?R)", "not a Python regular expression"),
        ("regex", "(?:foo){e<=2}(", "not a Python regular expression"),
        ("regex", "a{99999999999999999999}", "not a Python regular expression"),
        ("regex", "a" * 501, "longer than 500"),
        # The regex module would take gigabytes to compile them.
        ("regex", "(?:" * 70 + "a" + "){2}" * 70, "nests too many repetitions"),
        ("regex", "(?:" * 90 + "a" + ")+" * 90, "nests too many repetitions"),
        ("regex", "(?x)" + "( " * 60 + "a" + ") {2}" * 60, "nests too many repetitions"),
        (
            "regex",
            "(a)?(?(1)" + "(?>" * 60 + "b" + "){2}" * 60 + "|c)",
            "nests too many repetitions",
        ),
        ("regex", "(?:(?=(?:ab){500})c){500}", "nests too many repetitions"),
    ],
)
def test_what_nothing_can_be_verified_against(
    verifier: VerifierName, answer: str | None, fault: str
) -> None:
    assert fault in fault_of(verifier, answer)


@pytest.mark.parametrize(
    ("verifier", "answer"),
    [
        ("exact", "x"),
        ("contains", "x"),
        ("numeric", "$1,000"),
        ("regex", r"\d+"),
        ("regex", "(" * 250 + ")" * 250),
        ("regex", r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}"),
        ("regex", r"((\d+)\s*)+"),
        ("regex", "a{60000}"),
        ("regex", "(?:ab){1000}"),
    ],
)
def test_what_can_be(verifier: VerifierName, answer: str) -> None:
    assert fault_of(verifier, answer) == ""
