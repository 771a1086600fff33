"""Hard: recursion, parsing, ordering."""

from environment.code.bundled.written.problem import Written

RECURSION = (
    Written(
        "hard",
        "Write reckon(s): the value of an expression of whole numbers with +, -, * and round "
        "brackets; * binds tighter. Spaces do not matter, and there is no unary minus.",
        """
def reckon(s):
    tokens = []
    for c in s.replace(" ", ""):
        if c.isdigit() and tokens and tokens[-1].isdigit():
            tokens[-1] += c
        else:
            tokens.append(c)

    def factor():
        token = tokens.pop(0)
        if token != "(":
            return int(token)
        value = total()
        tokens.pop(0)
        return value

    def term():
        value = factor()
        while tokens and tokens[0] == "*":
            tokens.pop(0)
            value *= factor()
        return value

    def total():
        value = term()
        while tokens and tokens[0] in "+-":
            sign = 1 if tokens.pop(0) == "+" else -1
            value += sign * term()
        return value

    return total()
""",
        "assert reckon('2 + 3 * 4') == 14",
        (
            "assert reckon('(2 + 3) * 4') == 20",
            "assert reckon('10 - 4 - 3') == 3",
            "assert reckon('2*(3+(4-1))*2') == 24",
            "assert reckon('120') == 120",
        ),
        (
            """
def reckon(s):
    return sum(int(p) for p in s.split("+"))
""",
            """
def reckon(s):
    value = 0
    for part in s.split('+'):
        product = 1
        for f in part.split('*'):
            product *= int(f)
        value += product
    return value
""",
        ),
    ),
    Written(
        "hard",
        "Write leaves(tree): all values of a list that may hold lists, to any depth, as one "
        "flat list in their order.",
        """
def leaves(tree):
    found = []
    for node in tree:
        found += leaves(node) if isinstance(node, list) else [node]
    return found
""",
        "assert leaves([1, [2, 3]]) == [1, 2, 3]",
        (
            "assert leaves([]) == []",
            "assert leaves([[[1]], [], [2, [3, [4]]]]) == [1, 2, 3, 4]",
            "assert leaves(['ab', ['c']]) == ['ab', 'c']",
            "assert leaves([[[[]]]]) == []",
        ),
        (
            """
def leaves(tree):
    r = []
    for n in tree:
        r += n if isinstance(n, list) else [n]
    return r
""",
        ),
    ),
    Written(
        "hard",
        "Write spiral(rows): the elements of a matrix along a spiral that starts at the top "
        "left and goes right first.",
        """
def spiral(rows):
    found = []
    while rows:
        found += rows[0]
        rows = [list(column) for column in zip(*rows[1:])][::-1]
    return found
""",
        "assert spiral([[1, 2], [3, 4]]) == [1, 2, 4, 3]",
        (
            "assert spiral([]) == []",
            "assert spiral([[1, 2, 3], [4, 5, 6], [7, 8, 9]]) == [1, 2, 3, 6, 9, 8, 7, 4, 5]",
            "assert spiral([[1], [2], [3]]) == [1, 2, 3]",
            "assert spiral([[1, 2, 3], [4, 5, 6]]) == [1, 2, 3, 6, 5, 4]",
        ),
        (
            """
def spiral(rows):
    return [x for i, row in enumerate(rows) for x in (row[::-1] if i % 2 else row)]
""",
        ),
    ),
    Written(
        "hard",
        "Write spell(n): a whole number from 0 to 999 in English words, like 'three hundred "
        "and forty-two'.",
        """
def spell(n):
    small = (
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen"
    ).split()
    tens = "twenty thirty forty fifty sixty seventy eighty ninety".split()
    if n < 20:
        return small[n]
    if n < 100:
        return tens[n // 10 - 2] + ("-" + small[n % 10] if n % 10 else "")
    return small[n // 100] + " hundred" + (" and " + spell(n % 100) if n % 100 else "")
""",
        "assert spell(342) == 'three hundred and forty-two'",
        (
            "assert spell(0) == 'zero'",
            "assert spell(17) == 'seventeen'",
            "assert spell(90) == 'ninety'",
            "assert spell(500) == 'five hundred'",
            "assert spell(913) == 'nine hundred and thirteen'",
        ),
        (
            """
def spell(n):
    names = "zero one two three four five six seven eight nine".split()
    return " ".join(names[int(d)] for d in str(n))
""",
        ),
    ),
    Written(
        "hard",
        "Write shuffles(s): all different strings made of exactly the characters of s, sorted.",
        """
def shuffles(s):
    if not s:
        return [""]
    return sorted({c + rest for i, c in enumerate(s) for rest in shuffles(s[:i] + s[i + 1 :])})
""",
        "assert shuffles('ab') == ['ab', 'ba']",
        (
            "assert shuffles('aa') == ['aa']",
            "assert shuffles('') == ['']",
            "assert shuffles('cab') == ['abc', 'acb', 'bac', 'bca', 'cab', 'cba']",
            "assert shuffles('aab') == ['aab', 'aba', 'baa']",
        ),
        (
            """
def shuffles(s):
    return sorted({s, s[::-1]})
""",
            """
from itertools import permutations

def shuffles(s):
    return sorted("".join(p) for p in permutations(s))
""",
        ),
    ),
    Written(
        "hard",
        "Write order(needs): needs is a dict from each task to the list of tasks that must "
        "come before it. Return all tasks in an order that respects this, always the "
        "alphabetically first of those that may come next, or None if there is a circle.",
        """
def order(needs):
    waiting = {task: set(before) for task, before in needs.items()}
    for before in needs.values():
        for task in before:
            waiting.setdefault(task, set())
    done = []
    while waiting:
        ready = sorted(task for task, before in waiting.items() if not before - set(done))
        if not ready:
            return None
        done.append(ready[0])
        del waiting[ready[0]]
    return done
""",
        "assert order({'cook': ['shop'], 'shop': []}) == ['shop', 'cook']",
        (
            "assert order({}) == []",
            "assert order({'a': ['b'], 'b': ['a']}) == None",
            "assert order({'z': [], 'm': ['z'], 'b': []}) == ['b', 'z', 'm']",
            "assert order({'a': ['z'], 'b': []}) == ['b', 'z', 'a']",
            "assert order({'a': ['c'], 'b': ['a'], 'c': []}) == ['c', 'a', 'b']",
        ),
        (
            """
def order(needs):
    return sorted(needs, key=lambda t: len(needs[t]))
""",
        ),
    ),
)
