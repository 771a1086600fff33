"""Compares an answer with the gold answer: deterministic, offline, hard to game.

Both texts are reduced to content words: values (numbers, amounts, dates) in canonical form, and
words without case, accents or stop words. An answer matches if

- it contains every value of the gold answer and no other (if the gold answer has none: at most
  ``_SPARE_VALUES``),
- both contain a negation ("not", "never", "no") or neither does,
- it contains enough of the gold answer's words without burying them: a short gold answer (a name,
  a place, a number) requires every gold word and allows ``_SPARE_WORDS`` others, so that dumping
  everything read does not pay; a longer one requires a token F1 of ``_SENTENCE_F1``, as in SQuAD.

It compares words, not meaning; that is for a judge model (``agent.judge``).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from decimal import Decimal

_SPARE_WORDS = 8
_SPARE_VALUES = 2
_SHORT_WORDS = 5
_SENTENCE_F1 = 0.5
_CENTURY_TURN = 70
_MONTHS = {
    name: index
    for index, names in enumerate(
        (
            "january jan|february feb|march mar|april apr|may|june jun|july jul|august aug|"
            "september sep sept|october oct|november nov|december dec"
        ).split("|"),
        start=1,
    )
    for name in names.split()
}
_MONTH = "(" + "|".join(sorted(_MONTHS, key=len, reverse=True)) + r")\b\.?"
STOP_WORDS = frozenset(
    "a an the is are was were be been it its this that of to in on at for by from with and or as "
    "he she they his her their we our you your i would has have had do does did "
    "room suite hotel flight number confirmation".split()
)
_UNITS = {"thousand": 10**3, "k": 10**3, "million": 10**6, "mm": 10**6, "m": 10**6}
_UNITS |= {"billion": 10**9, "bn": 10**9, "b": 10**9}
_ORDINAL = re.compile(r"\b(\d{1,2})(?:st|nd|rd|th)\b")
_CLOCK = re.compile(r"\b(\d{1,2})(?::(\d{2}))?\s*([ap])\.?\s?m\b\.?")
_CLOCK_24 = re.compile(r"\b([01]?\d|2[0-3]):([0-5]\d)\b")
_MONTH_DAY = re.compile(rf"\b{_MONTH}\s+(?:the\s+)?(\d{{1,2}})\b(?:\s*,?\s*(\d{{4}})\b)?")
_DAY_MONTH = re.compile(rf"\b(\d{{1,2}})\s+(?:of\s+)?{_MONTH}(?:\s*,?\s*(\d{{4}})\b)?")
_ISO_DAY = re.compile(r"\b(\d{4})-(\d{2})-(\d{2})\b")
_US_DAY = re.compile(r"\b(\d{1,2})/(\d{1,2})(?:/(\d{2,4}))?\b")
_PHONE = re.compile(r"(?:\+?\b1[ .-]?)?\(?\b(\d{3})\)?[ ./-]?(\d{3})[ .-]?(\d{4})\b")
_DIGITS = r"(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)"
_AMOUNT = re.compile(rf"\$\s?{_DIGITS}\s?(thousand|million|billion|mm|bn|k|m|b)?\b")
_CODE = re.compile(r"\b(?=[a-z0-9]*\d)(?=[a-z0-9]*[a-z])[a-z0-9]+\b")
_NUMBER = re.compile(rf"\b{_DIGITS}(?:\s?(thousand|million|billion|mm|bn)\b)?")
_WORD = re.compile(r"[^\W_]+")
_DENIAL = re.compile(r"\b(not|never|no|nobody|none|cannot)\b|n't\b")
_NO_ANSWER = re.compile(
    r"\b(i|we)\s+(do\s?n[o']?t|did\s?n[o']?t|do not|did not|can\s?not|can't|could not|couldn't)\s+"
    r"(know|find|answer|determine|tell)\b|\bno (answer|information|mail) (was )?(found|available)\b|\b(i'm|i am) not sure\b"
)


def plain(text: str) -> str:
    """Fold case and strip accents."""
    decomposed = unicodedata.normalize("NFKD", text.casefold().replace("’", "'"))
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def is_no_answer(text: str) -> bool:
    """Whether the text is empty or admits ignorance."""
    answer = plain(text).strip(" .!")
    return not answer or answer in ("unknown", "n/a", "none") or bool(_NO_ANSWER.search(answer))


def _date(month: int, day: int, year: str | None) -> str:
    if year and len(year) == 2:
        year = ("19" if int(year) >= _CENTURY_TURN else "20") + year
    full = f"-{year}" if year else ""
    return f" d{month:02d}-{day:02d}{full} "


def _number(match: re.Match[str]) -> str:
    value = Decimal(match[1].replace(",", "")) * _UNITS.get(match[2], 1)
    text = f"{value:f}"  # normalize() would round beyond 28 digits
    return text.rstrip("0").rstrip(".") if "." in text else text


def content_words(text: str) -> tuple[Counter[str], Counter[str]]:
    """Canonical values (numbers, codes, dates, times, phone numbers) and remaining words."""
    values: Counter[str] = Counter()

    def take(canonical: str) -> str:
        values[canonical.strip()] += 1
        return " "

    rest = _ORDINAL.sub(r"\1", plain(text))
    rest = _ISO_DAY.sub(lambda m: take(_date(int(m[2]), int(m[3]), m[1])), rest)
    rest = _MONTH_DAY.sub(lambda m: take(_date(_MONTHS[m[1]], int(m[2]), m[3])), rest)
    rest = _DAY_MONTH.sub(lambda m: take(_date(_MONTHS[m[2]], int(m[1]), m[3])), rest)
    rest = _US_DAY.sub(lambda m: take(_date(int(m[1]), int(m[2]), m[3])), rest)
    rest = _PHONE.sub(lambda m: take(f"tel{m[1]}{m[2]}{m[3]}"), rest)
    rest = _CLOCK.sub(lambda m: take(f"{int(m[1]) % 12 + 12 * (m[3] == 'p')}:{m[2] or '00'}"), rest)
    rest = _CLOCK_24.sub(lambda m: take(f"{int(m[1])}:{m[2]}"), rest)
    rest = _AMOUNT.sub(lambda m: take(_number(m)), rest)
    rest = _CODE.sub(lambda m: take(f"code {m[0]}"), rest)
    rest = _NUMBER.sub(lambda m: take(_number(m)), rest)
    rest = re.sub(r"'s\b", " ", rest)
    words = Counter(word for word in _WORD.findall(rest) if word not in STOP_WORDS)
    return values, words


def same_value(one: str, other: str) -> bool:
    """Whether two canonical values are equal; a date without a year matches any year."""
    a_year_is_missing = len(one) == 6 or len(other) == 6
    return one == other or (one[0] == "d" and one[:6] == other[:6] and a_year_is_missing)


def _same_values(answer: Counter[str], gold: Counter[str]) -> bool:
    """Whether ``answer`` has every gold value and no other."""
    return all(any(same_value(a, g) for a in answer) for g in gold) and all(
        any(same_value(a, g) for g in gold) for a in answer
    )


def answers_match(answer: str, gold: str) -> bool:
    """Whether ``answer`` matches ``gold`` by the rules in the module docstring."""
    if is_no_answer(answer):
        return is_no_answer(gold)
    if bool(_DENIAL.search(plain(answer))) != bool(_DENIAL.search(plain(gold))):
        return False
    answer_values, answer_words = content_words(answer)
    gold_values, gold_words = content_words(gold)
    if not gold_values and not gold_words:
        return plain(answer).strip() == plain(gold).strip()
    if gold_values and not _same_values(answer_values, gold_values):
        return False
    if not gold_values and len(answer_values) > _SPARE_VALUES:
        return False
    common = sum((answer_words & gold_words).values())
    spare = sum(answer_words.values()) - common
    if sum(gold_words.values()) <= _SHORT_WORDS:
        return common == sum(gold_words.values()) and spare <= _SPARE_WORDS
    f1 = 2 * common / (sum(answer_words.values()) + sum(gold_words.values()))
    return f1 >= _SENTENCE_F1
