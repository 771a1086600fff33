"""Easy: a few lines, one idea."""

from environment.code.bundled.written.problem import Written

EASY = (
    Written(
        "easy",
        "Write is_leap(year): whether a year of the Gregorian calendar has 366 days.",
        """
def is_leap(year):
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
""",
        "assert is_leap(2024) == True",
        (
            "assert is_leap(2023) == False",
            "assert is_leap(1900) == False",
            "assert is_leap(2000) == True",
            "assert is_leap(1996) == True",
        ),
        (
            """
def is_leap(year):
    return year % 4 == 0
""",
            """
def is_leap(year):
    return year % 4 == 0 and year % 100 != 0
""",
        ),
    ),
    Written(
        "easy",
        "Write clamp(n, low, high): n itself, or the nearer bound where n lies outside low to "
        "high.",
        """
def clamp(n, low, high):
    return max(low, min(n, high))
""",
        "assert clamp(12, 0, 10) == 10",
        (
            "assert clamp(-3, 0, 10) == 0",
            "assert clamp(4, 0, 10) == 4",
            "assert clamp(0, 0, 10) == 0",
            "assert clamp(5, 7, 7) == 7",
        ),
        (
            """
def clamp(n, low, high):
    return min(n, high)
""",
            """
def clamp(n, low, high):
    return min(low, max(n, high))
""",
        ),
    ),
    Written(
        "easy",
        "Write initials(name): the first letters of all parts of a name, in capitals, each "
        "followed by a dot.",
        """
def initials(name):
    return "".join(part[0].upper() + "." for part in name.split())
""",
        "assert initials('ada lovelace') == 'A.L.'",
        (
            "assert initials('Grace Brewster Hopper') == 'G.B.H.'",
            "assert initials('plato') == 'P.'",
            "assert initials('') == ''",
            "assert initials('van  dyke') == 'V.D.'",
        ),
        (
            """
def initials(name):
    return "".join(p[0] + "." for p in name.split())
""",
            """
def initials(name):
    return ".".join(p[0].upper() for p in name.split())
""",
        ),
    ),
    Written(
        "easy",
        "Write middle(s): the character in the middle of a string, or the two there are if "
        "its length is even.",
        """
def middle(s):
    half = len(s) // 2
    return s[half] if len(s) % 2 else s[half - 1 : half + 1]
""",
        "assert middle('stone') == 'o'",
        (
            "assert middle('river') == 'v'",
            "assert middle('moon') == 'oo'",
            "assert middle('ab') == 'ab'",
            "assert middle('x') == 'x'",
        ),
        (
            """
def middle(s):
    return s[len(s) // 2]
""",
            """
def middle(s):
    return s[len(s) // 2 - 1 : len(s) // 2 + 1]
""",
        ),
    ),
    Written(
        "easy",
        "Write digit_sum(n): the sum of the decimal digits of a whole number; its sign is ignored.",
        """
def digit_sum(n):
    return sum(int(digit) for digit in str(abs(n)))
""",
        "assert digit_sum(472) == 13",
        (
            "assert digit_sum(0) == 0",
            "assert digit_sum(-58) == 13",
            "assert digit_sum(1009) == 10",
            "assert digit_sum(99999) == 45",
        ),
        (
            """
def digit_sum(n):
    return sum(int(d) for d in str(n))
""",
            """
def digit_sum(n):
    return n % 9
""",
        ),
    ),
    Written(
        "easy",
        "Write countdown(n): a list of the numbers from n down to 1, and then the string 'go'.",
        """
def countdown(n):
    return [*range(n, 0, -1), "go"]
""",
        "assert countdown(3) == [3, 2, 1, 'go']",
        (
            "assert countdown(1) == [1, 'go']",
            "assert countdown(0) == ['go']",
            "assert countdown(5) == [5, 4, 3, 2, 1, 'go']",
        ),
        (
            """
def countdown(n):
    return [*range(n, -1, -1), "go"]
""",
            """
def countdown(n):
    return [*range(1, n + 1), "go"]
""",
        ),
    ),
    Written(
        "easy",
        "Write grade(points): 'A' from 90 points on, 'B' from 75, 'C' from 50, and 'F' below.",
        """
def grade(points):
    for letter, least in (("A", 90), ("B", 75), ("C", 50)):
        if points >= least:
            return letter
    return "F"
""",
        "assert grade(80) == 'B'",
        (
            "assert grade(90) == 'A'",
            "assert grade(75) == 'B'",
            "assert grade(50) == 'C'",
            "assert grade(49) == 'F'",
            "assert grade(89) == 'B'",
        ),
        (
            """
def grade(points):
    return "A" if points > 90 else "B" if points > 75 else "C" if points > 50 else "F"
""",
        ),
    ),
    Written(
        "easy",
        "Write between(a, b): how many whole numbers lie strictly between a and b, whichever "
        "of the two is larger.",
        """
def between(a, b):
    return max(0, abs(a - b) - 1)
""",
        "assert between(3, 8) == 4",
        (
            "assert between(8, 3) == 4",
            "assert between(5, 5) == 0",
            "assert between(-2, 2) == 3",
            "assert between(7, 8) == 0",
        ),
        (
            """
def between(a, b):
    return b - a - 1
""",
            """
def between(a, b):
    return abs(a - b) - 1
""",
        ),
    ),
    Written(
        "easy",
        "Write seesaw(s): the string with its letters in capitals at the even positions, "
        "counted from 0, and in small letters at the odd ones.",
        """
def seesaw(s):
    return "".join(c.lower() if i % 2 else c.upper() for i, c in enumerate(s))
""",
        "assert seesaw('garden') == 'GaRdEn'",
        (
            "assert seesaw('HELLO') == 'HeLlO'",
            "assert seesaw('a') == 'A'",
            "assert seesaw('') == ''",
            "assert seesaw('x1yz') == 'X1Yz'",
        ),
        (
            """
def seesaw(s):
    return "".join(c if i % 2 else c.upper() for i, c in enumerate(s))
""",
            """
def seesaw(s):
    return "".join(c.upper() if i % 2 else c.lower() for i, c in enumerate(s))
""",
        ),
    ),
    Written(
        "easy",
        "Write clock(minutes): the time of day as 'HH:MM', so many minutes after midnight; "
        "after a day it starts again.",
        """
def clock(minutes):
    return f"{minutes // 60 % 24:02}:{minutes % 60:02}"
""",
        "assert clock(615) == '10:15'",
        (
            "assert clock(5) == '00:05'",
            "assert clock(1439) == '23:59'",
            "assert clock(1440) == '00:00'",
            "assert clock(1505) == '01:05'",
        ),
        (
            """
def clock(minutes):
    return f"{minutes // 60:02}:{minutes % 60:02}"
""",
            """
def clock(minutes):
    return f"{minutes // 60 % 24}:{minutes % 60}"
""",
        ),
    ),
)
