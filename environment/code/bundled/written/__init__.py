"""Hand-written problems, from a line of arithmetic to dynamic programming."""

from environment.code.bundled.written.easy import EASY
from environment.code.bundled.written.lists import LISTS
from environment.code.bundled.written.problem import Written
from environment.code.bundled.written.recursion import RECURSION
from environment.code.bundled.written.search import SEARCH
from environment.code.bundled.written.texts import TEXTS

WRITTEN: tuple[Written, ...] = (*EASY, *LISTS, *TEXTS, *RECURSION, *SEARCH)
