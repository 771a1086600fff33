"""Medium: stateful processing of texts and dates."""

from environment.code.bundled.written.problem import Written

TEXTS = (
    Written(
        "medium",
        "Write squeeze(s): each run of a repeated character becomes that character and the "
        "length of the run.",
        """
def squeeze(s):
    result = ""
    start = 0
    for i in range(1, len(s) + 1):
        if i == len(s) or s[i] != s[start]:
            result += s[start] + str(i - start)
            start = i
    return result
""",
        "assert squeeze('aaabcc') == 'a3b1c2'",
        (
            "assert squeeze('') == ''",
            "assert squeeze('aba') == 'a1b1a1'",
            "assert squeeze('zzzzzzzzzzzz') == 'z12'",
            "assert squeeze('xy') == 'x1y1'",
        ),
        (
            """
def squeeze(s):
    return "".join(c + str(s.count(c)) for c in dict.fromkeys(s))
""",
        ),
    ),
    Written(
        "medium",
        "Write roman(s): the value of a number in Roman numerals (I, V, X, L, C, D, M).",
        """
def roman(s):
    values = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
    total = 0
    for letter, following in zip(s, s[1:] + " "):
        value = values[letter]
        total += -value if value < values.get(following, 0) else value
    return total
""",
        "assert roman('XVI') == 16",
        (
            "assert roman('IV') == 4",
            "assert roman('MCMXCIV') == 1994",
            "assert roman('LVIII') == 58",
            "assert roman('CDXLIV') == 444",
        ),
        (
            """
def roman(s):
    values = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
    return sum(values[c] for c in s)
""",
        ),
    ),
    Written(
        "medium",
        "Write closed(s): whether every bracket in a text, of the kinds (), [] and {}, is "
        "closed by its own kind in the right order. Other characters do not matter.",
        """
def closed(s):
    partner = {")": "(", "]": "[", "}": "{"}
    waiting = []
    for c in s:
        if c in "([{":
            waiting.append(c)
        elif c in partner and (not waiting or waiting.pop() != partner[c]):
            return False
    return not waiting
""",
        "assert closed('f(x[0])') == True",
        (
            "assert closed('([)]') == False",
            "assert closed('((') == False",
            "assert closed(')(') == False",
            "assert closed('') == True",
            "assert closed('{[()]}') == True",
        ),
        (
            """
def closed(s):
    return all(s.count(a) == s.count(b) for a, b in ("()", "[]", "{}"))
""",
        ),
    ),
    Written(
        "medium",
        "Write days_apart(a, b): the number of days between two dates written like "
        "'2024-03-01', never negative.",
        """
from datetime import date

def days_apart(a, b):
    return abs((date.fromisoformat(a) - date.fromisoformat(b)).days)
""",
        "assert days_apart('2024-01-01', '2024-01-31') == 30",
        (
            "assert days_apart('2024-02-28', '2024-03-01') == 2",
            "assert days_apart('2023-03-01', '2023-02-28') == 1",
            "assert days_apart('2000-01-01', '2001-01-01') == 366",
            "assert days_apart('2010-05-05', '2010-05-05') == 0",
        ),
        (
            """
from datetime import date

def days_apart(a, b):
    return (date.fromisoformat(b) - date.fromisoformat(a)).days
""",
            """
def days_apart(a, b):
    return abs(int(a[-2:]) - int(b[-2:]))
""",
        ),
    ),
    Written(
        "medium",
        "Write cipher(s, k): each letter of a text moved k places on in the alphabet, from z "
        "on to a again; capitals stay capitals, and other characters stay as they are.",
        """
def cipher(s, k):
    def move(c):
        if not c.isalpha():
            return c
        first = ord("A" if c.isupper() else "a")
        return chr((ord(c) - first + k) % 26 + first)

    return "".join(move(c) for c in s)
""",
        "assert cipher('abc', 2) == 'cde'",
        (
            "assert cipher('xyz', 3) == 'abc'",
            "assert cipher('Hi, Zoe!', 1) == 'Ij, Apf!'",
            "assert cipher('cde', -2) == 'abc'",
            "assert cipher('m', 52) == 'm'",
        ),
        (
            """
def cipher(s, k):
    return "".join(chr(ord(c) + k) for c in s)
""",
            """
def cipher(s, k):
    return "".join(chr((ord(c) - 97 + k) % 26 + 97) for c in s)
""",
        ),
    ),
    Written(
        "medium",
        "Write settings(s): a dict from a text such as 'a=1; b=x=y'. Pairs are parted by ';', "
        "a name from its value by the first '='. Spaces around names and values are dropped, "
        "empty pairs ignored, and the last of several values counts.",
        """
def settings(s):
    found = {}
    for pair in s.split(";"):
        if pair.strip():
            name, _, value = pair.partition("=")
            found[name.strip()] = value.strip()
    return found
""",
        "assert settings('a=1; b=2') == {'a': '1', 'b': '2'}",
        (
            "assert settings('') == {}",
            "assert settings('url = x=y ;') == {'url': 'x=y'}",
            "assert settings('a=1;a=3') == {'a': '3'}",
            "assert settings('dark;') == {'dark': ''}",
        ),
        (
            """
def settings(s):
    return dict(p.strip().split("=") for p in s.split(";"))
""",
        ),
    ),
    Written(
        "medium",
        "Write workday(d, n): the date n working days (Monday to Friday) after the date d; "
        "both are written like '2024-03-01', and d may be any day.",
        """
from datetime import date, timedelta

def workday(d, n):
    day = date.fromisoformat(d)
    while n > 0:
        day += timedelta(days=1)
        if day.weekday() < 5:
            n -= 1
    return day.isoformat()
""",
        "assert workday('2024-03-04', 2) == '2024-03-06'",
        (
            "assert workday('2024-03-01', 1) == '2024-03-04'",
            "assert workday('2024-03-02', 1) == '2024-03-04'",
            "assert workday('2024-02-28', 2) == '2024-03-01'",
            "assert workday('2024-03-04', 10) == '2024-03-18'",
            "assert workday('2024-03-03', 0) == '2024-03-03'",
        ),
        (
            """
from datetime import date, timedelta

def workday(d, n):
    return (date.fromisoformat(d) + timedelta(days=n)).isoformat()
""",
        ),
    ),
)
