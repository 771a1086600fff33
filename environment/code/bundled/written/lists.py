"""Medium: lists, dictionaries and matrices."""

from environment.code.bundled.written.problem import Written

LISTS = (
    Written(
        "medium",
        "Write stock(a, b): one dict with the amounts of two such dicts added up; names whose "
        "sum is 0 are left out.",
        """
def stock(a, b):
    sums = {name: a.get(name, 0) + b.get(name, 0) for name in [*a, *b]}
    return {name: amount for name, amount in sums.items() if amount != 0}
""",
        "assert stock({'pear': 2}, {'pear': 3, 'fig': 1}) == {'pear': 5, 'fig': 1}",
        (
            "assert stock({'pear': 2}, {'pear': -2}) == {}",
            "assert stock({}, {}) == {}",
            "assert stock({'oat': 1}, {'rye': 4}) == {'oat': 1, 'rye': 4}",
            "assert stock({'oat': -3}, {'oat': 1}) == {'oat': -2}",
        ),
        (
            """
def stock(a, b):
    return {**a, **b}
""",
            """
def stock(a, b):
    return {n: a.get(n, 0) + b.get(n, 0) for n in [*a, *b]}
""",
        ),
    ),
    Written(
        "medium",
        "Write runner_up(xs): the second largest of the different numbers in a list, or None "
        "if there are fewer than two.",
        """
def runner_up(xs):
    different = sorted(set(xs))
    return different[-2] if len(different) > 1 else None
""",
        "assert runner_up([4, 9, 2]) == 4",
        (
            "assert runner_up([9, 9, 5]) == 5",
            "assert runner_up([3, 3]) == None",
            "assert runner_up([]) == None",
            "assert runner_up([-1, -7, -1, -3]) == -3",
        ),
        (
            """
def runner_up(xs):
    return sorted(xs)[-2] if len(xs) > 1 else None
""",
            """
def runner_up(xs):
    return sorted(set(xs))[-2]
""",
        ),
    ),
    Written(
        "medium",
        "Write turn(rows): a matrix, given as a list of rows, turned clockwise by a quarter.",
        """
def turn(rows):
    return [list(column) for column in zip(*rows[::-1])]
""",
        "assert turn([[1, 2], [3, 4]]) == [[3, 1], [4, 2]]",
        (
            "assert turn([[1, 2, 3]]) == [[1], [2], [3]]",
            "assert turn([[1], [2], [3]]) == [[3, 2, 1]]",
            "assert turn([]) == []",
            "assert turn([[1, 2, 3], [4, 5, 6]]) == [[4, 1], [5, 2], [6, 3]]",
        ),
        (
            """
def turn(rows):
    return [list(c) for c in zip(*rows)]
""",
            """
def turn(rows):
    return [list(c) for c in zip(*rows)][::-1]
""",
        ),
    ),
    Written(
        "medium",
        "Write shift(xs, k): the list with its elements moved k places to the right, those at "
        "the end coming in again at the front. A negative k moves to the left.",
        """
def shift(xs, k):
    if not xs:
        return []
    k %= len(xs)
    return xs[len(xs) - k :] + xs[: len(xs) - k]
""",
        "assert shift([1, 2, 3, 4], 1) == [4, 1, 2, 3]",
        (
            "assert shift([1, 2, 3], 5) == [2, 3, 1]",
            "assert shift([], 3) == []",
            "assert shift([1, 2, 3], -1) == [2, 3, 1]",
            "assert shift([7, 8], 0) == [7, 8]",
        ),
        (
            """
def shift(xs, k):
    return xs[-k:] + xs[:-k]
""",
            """
def shift(xs, k):
    return xs[k:] + xs[:k]
""",
        ),
    ),
    Written(
        "medium",
        "Write index(words): a dict from first letters, in lower case, to the sorted list of "
        "the words that begin with them.",
        """
def index(words):
    found = {}
    for word in sorted(words):
        found.setdefault(word[0].lower(), []).append(word)
    return found
""",
        "assert index(['fig', 'ash', 'fir']) == {'a': ['ash'], 'f': ['fig', 'fir']}",
        (
            "assert index([]) == {}",
            "assert index(['Elm', 'eel']) == {'e': ['Elm', 'eel']}",
            "assert index(['yew', 'yak', 'oak']) == {'o': ['oak'], 'y': ['yak', 'yew']}",
        ),
        (
            """
def index(words):
    return {w[0].lower(): [w] for w in sorted(words)}
""",
            """
def index(words):
    d = {}
    for w in words:
        d.setdefault(w[0].lower(), []).append(w)
    return d
""",
        ),
    ),
)
