"""The families of composed problems."""

from environment.code.bundled.numbers_and_tables import NUMBERS, TABLES
from environment.code.bundled.words_and_letters import LETTERS, WORDS

FAMILIES = (NUMBERS, WORDS, LETTERS, TABLES)
