"""Hard: optimisation by dynamic programming or search."""

from environment.code.bundled.written.problem import Written

SEARCH = (
    Written(
        "hard",
        "Write climb(xs): the length of the longest strictly rising sequence that is left "
        "when any elements of the list are crossed out.",
        """
def climb(xs):
    best = []
    for i, x in enumerate(xs):
        best.append(1 + max((best[j] for j in range(i) if xs[j] < x), default=0))
    return max(best, default=0)
""",
        "assert climb([3, 1, 2, 5, 4]) == 3",
        (
            "assert climb([]) == 0",
            "assert climb([5, 5, 5]) == 1",
            "assert climb([9, 1, 8, 2, 7, 3]) == 3",
            "assert climb([4, 3, 2, 1]) == 1",
            "assert climb([1, 9, 2, 3, 4]) == 4",
        ),
        (
            """
def climb(xs):
    return len(set(xs))
""",
            """
def climb(xs):
    best = run = 1 if xs else 0
    for a, b in zip(xs, xs[1:]):
        run = run + 1 if b > a else 1
        best = max(best, run)
    return best
""",
        ),
    ),
    Written(
        "hard",
        "Write fewest(coins, amount): the smallest number of coins that make up the amount, "
        "each kind as often as needed, or -1 if it cannot be done.",
        """
def fewest(coins, amount):
    best = [0] + [amount + 1] * amount
    for value in range(1, amount + 1):
        for coin in coins:
            if coin <= value:
                best[value] = min(best[value], best[value - coin] + 1)
    return best[amount] if best[amount] <= amount else -1
""",
        "assert fewest([1, 5, 10], 27) == 5",
        (
            "assert fewest([1, 3, 4], 6) == 2",
            "assert fewest([2], 3) == -1",
            "assert fewest([7], 0) == 0",
            "assert fewest([9, 6, 1], 18) == 2",
            "assert fewest([3, 5], 7) == -1",
        ),
        (
            """
def fewest(coins, amount):
    n = 0
    for c in sorted(coins)[::-1]:
        n += amount // c
        amount %= c
    return -1 if amount else n
""",
        ),
    ),
    Written(
        "hard",
        "Write steps(grid): the fewest steps, up, down, left or right, from the top left to "
        "the bottom right of a grid given as strings, where '#' is a wall; -1 if there is no "
        "way.",
        """
def steps(grid):
    height, width = len(grid), len(grid[0])
    seen, edge, count = {(0, 0)}, [(0, 0)], 0
    if grid[0][0] == "#":
        return -1
    while edge:
        if (height - 1, width - 1) in edge:
            return count
        following = []
        for y, x in edge:
            for at in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
                inside = 0 <= at[0] < height and 0 <= at[1] < width
                if inside and grid[at[0]][at[1]] != "#" and at not in seen:
                    seen.add(at)
                    following.append(at)
        edge, count = following, count + 1
    return -1
""",
        "assert steps(['..', '..']) == 2",
        (
            "assert steps(['.#.', '.#.', '...']) == 4",
            "assert steps(['.#', '#.']) == -1",
            "assert steps(['.']) == 0",
            "assert steps(['..#.', '#.#.', '....', '.##.']) == 6",
            "assert steps(['.....', '.###.', '...#.', '##.#.', '##...']) == 8",
            "assert steps(['.#...', '.#.#.', '...#.']) == 10",
        ),
        (
            """
def steps(grid):
    return len(grid) + len(grid[0]) - 2
""",
            """
def steps(grid):
    h, w = len(grid), len(grid[0])
    best = {(0, 0): 0}
    for y in range(h):
        for x in range(w):
            if grid[y][x] == "#" or (y, x) == (0, 0):
                continue
            near = [best[p] for p in ((y - 1, x), (y, x - 1)) if p in best]
            if near:
                best[y, x] = min(near) + 1
    return best.get((h - 1, w - 1), -1)
""",
        ),
    ),
    Written(
        "hard",
        "Write typos(a, b): the least number of single characters to insert, delete or "
        "replace to turn a into b.",
        """
def typos(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row = row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (x != y)))
    return row[-1]
""",
        "assert typos('cat', 'cart') == 1",
        (
            "assert typos('', 'abc') == 3",
            "assert typos('lemon', 'melon') == 2",
            "assert typos('same', 'same') == 0",
            "assert typos('abcdef', 'bcdefg') == 2",
            "assert typos('winter', 'writer') == 2",
        ),
        (
            """
def typos(a, b):
    return sum(x != y for x, y in zip(a, b)) + abs(len(a) - len(b))
""",
            """
def typos(a, b):
    return abs(len(a) - len(b))
""",
        ),
    ),
    Written(
        "hard",
        "Write busy(spans): merge the spans (start, end) that overlap or touch, and return "
        "the merged ones as a sorted list of tuples.",
        """
def busy(spans):
    merged = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
""",
        "assert busy([(5, 7), (1, 3), (2, 4)]) == [(1, 4), (5, 7)]",
        (
            "assert busy([]) == []",
            "assert busy([(1, 9), (2, 3)]) == [(1, 9)]",
            "assert busy([(1, 2), (2, 5)]) == [(1, 5)]",
            "assert busy([(6, 8), (0, 1), (7, 10), (10, 11)]) == [(0, 1), (6, 11)]",
        ),
        (
            """
def busy(spans):
    m = []
    for s, e in sorted(spans):
        if m and s < m[-1][1]:
            m[-1] = (m[-1][0], e)
        else:
            m.append((s, e))
    return m
""",
        ),
    ),
    Written(
        "hard",
        "Write pack(items, limit): items is a list of (weight, worth); return the greatest "
        "total worth of items whose total weight is at most the limit, each taken at most "
        "once.",
        """
def pack(items, limit):
    best = [0] * (limit + 1)
    for weight, worth in items:
        for room in range(limit, weight - 1, -1):
            best[room] = max(best[room], best[room - weight] + worth)
    return best[limit]
""",
        "assert pack([(2, 3), (3, 4), (4, 5)], 5) == 7",
        (
            "assert pack([], 10) == 0",
            "assert pack([(6, 9), (5, 7), (5, 7)], 10) == 14",
            "assert pack([(1, 5)], 4) == 5",
            "assert pack([(8, 50), (2, 1)], 7) == 1",
        ),
        (
            """
def pack(items, limit):
    total = 0
    for w, v in sorted(items, key=lambda i: -i[1] / i[0]):
        if w <= limit:
            total += v
            limit -= w
    return total
""",
            """
def pack(items, limit):
    best = [0] * (limit + 1)
    for w, v in items:
        for room in range(w, limit + 1):
            best[room] = max(best[room], best[room - w] + v)
    return best[limit]
""",
        ),
    ),
)
