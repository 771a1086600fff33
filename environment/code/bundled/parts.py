"""Parts shared by several families."""

from __future__ import annotations

from itertools import product

from environment.code.bundled.recipes import Part

TINY = tuple(str(n) for n in range(2, 8))
VOCABULARY = (
    "apple autumn basket bread bridge candle castle circle cloud copper dance desert dinner dragon "
    "eagle early engine eve fabric farmer feather forest garden ginger glass guitar harbor hello "
    "hope idea ink island jacket jewel kettle kite ladder lake lemon level maple mirror moon "
    "needle noon novel oat ocean olive orange paper pear pepper planet quiet rabbit radio river "
    "rose sail silver stone street sun table tiger tree umbrella valley violet wagon water wave "
    "window winter yard yellow zebra art era oak tea toe owl ant rat tent rate trees stars edge"
).split()
ALL = Part("all", "", ("{it}",))


SUM = Part("sum", "sum({items})", ("the sum of {it}", "the total of {it}"), ("len([{items}])",))
MAX = Part(
    "max",
    "max([{items}], default=0)",
    ("the largest of {it}, or 0 if there is none", "the maximum of {it} (0 for none)"),
    ("min([{items}], default=0)", "max([{items}])"),
)
MIN = Part(
    "min",
    "min([{items}], default=0)",
    ("the smallest of {it}, or 0 if there is none", "the minimum of {it} (0 for none)"),
    ("max([{items}], default=0)", "min([{items}])"),
)
LIST = Part(
    "list",
    "[{items}]",
    ("a list of {it}", "{it}, as a list in their order"),
    ("sorted({items})",),
)
SORTED = Part(
    "sorted",
    "sorted({items})",
    ("{it}, sorted", "a sorted list of {it}"),
    ("[{items}]", "sorted(set({items}))"),
)
COUNT = Part(
    "count",
    "len([{items}])",
    ("how many there are of {it}", "the number of {it}", "the count of {it}"),
    ("len(set([{items}]))",),
)


DASHED = Part(
    "dashed",
    "'-'.join({items})",
    ("{it}, joined by dashes", "a string of {it} with dashes between"),
    ("' '.join({items})", "[{items}]"),
)


def cross(maps: tuple[Part, ...], reductions: tuple[Part, ...]) -> tuple[tuple[Part, Part], ...]:
    return tuple(product(maps, reductions))
