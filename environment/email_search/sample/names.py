"""Invented names, divided between the training and the test split.

A hash of the name decides its split, whatever the seed, world or program: no test name occurs in
a training email or a demonstration.
"""

from __future__ import annotations

import hashlib
import random
import string

from environment.base import Split
from environment.email_search.sample.decency import is_decent

_ONSETS = "b br c ch d dr f g gr h j k l m n p r s sh st t tr v w z kl fl bl pr th qu x y".split()
_VOWELS = "a e i o u ai ea ou ie oo y ee".split()
_CODAS = "n r l s t m nd rt ck x ll sk th ng rn lt ss rd ns mp".split()
_STEMS = (
    "Al An Ash Bar Bel Ber Black Bran Brook Car Clark Cole Cran Dal Dan Dor Dun East Ed El Fair "
    "Farm Fen Field Fox Gar Glen Gold Gray Green Had Hal Ham Hart Hav Hol Horn Hunt Ken Kirk Lan "
    "Law Lin Lock Mar Mas May Mill Mor Nash New Nor Oak Pal Park Pat Pem Ram Red Rich Ross Sand "
    "Sax Shel Sher Stan Stone Sul Tal Thorn Tur Under Vin Wal War Wat West Whit Wil Win Wood York"
).split()
_ENDINGS = (
    "ard berg bert bourne bridge burn by combe croft dale den don elli er ett ey feld field ford "
    "gate grave ham hurst ide ington ini kin land ley lin low man mann mere mond more ney or ova "
    "ridge ski shaw sky smith son stead stein stone strom ton vale vic ville ward well wick win "
    "wood worth y"
).split()
_LONGEST = 8
_PREFIXES = (*[""] * 14, "Mc", "Mac", "De", "Van", "O'", "St")
_FIRST = (
    "Abel Adam Alice Amir Anna Ben Bianca Carla Cedric Chris Dana Daphne David Diane Edgar Elena "
    "Eric Farah Fiona Frank Gail Greg Gustav Hana Helga Ian Imran Irene Jack Jane Jeff Jill Joanna "
    "Joel Karen Keith Kurt Lara Leo Lisa Lorna Maria Mark Mike Milton Nadia Nora Omar Oscar Paul "
    "Peter Priya Quentin Rachel Rob Rosa Sara Scott Steve Susan Sven Tara Tessa Tim Tom Ulric Vera "
    "Vince Wade Wendy Ximena Yusuf Zelda Zoe"
).split()


def split_of(name: str) -> Split:
    """The split of a name or address, by hash: one in five is held out for testing."""
    digest = hashlib.blake2b(name.lower().encode(), digest_size=4).digest()
    return "test" if int.from_bytes(digest) % 5 == 0 else "train"


def _syllables(rng: random.Random) -> str:
    first = rng.choice(_ONSETS) + rng.choice(_VOWELS)
    second = rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS)
    return (first + second).capitalize()[:_LONGEST]


def _compound(rng: random.Random) -> str:
    """A plausible surname or place name: Hartfield, McBarlow, O'Kenson."""
    return rng.choice(_PREFIXES) + rng.choice(_STEMS) + rng.choice(_ENDINGS)


def _misspelt(rng: random.Random) -> str:
    """A name with one or two letters replaced, found in no list of names."""
    letters = list(rng.choice((_syllables, _compound))(rng))
    for _ in range(rng.choice((1, 2))):
        letters[rng.randrange(1, len(letters))] = rng.choice(string.ascii_lowercase)
    return "".join(letters)


def _mixed(rng: random.Random) -> str:
    """Plausible names are few enough to memorise; the others force the agent to learn copying."""
    kind = rng.random()
    if kind < 0.4:
        return _syllables(rng)
    return _compound(rng) if kind < 0.65 else _misspelt(rng)


class NamePool:
    """Draws unique names of one split."""

    def __init__(self, rng: random.Random, split: Split) -> None:
        self._rng = rng
        self._split = split
        self._used: set[str] = set()

    def name(self) -> str:
        """A surname, project, company, city or hotel: one capitalised word."""
        while True:
            name = _mixed(self._rng)
            if name not in self._used and split_of(name) == self._split and is_decent(name):
                self._used.add(name)
                return name

    def person(self) -> str:
        """First name and surname; both splits share the first names."""
        while True:
            first, surname = self._rng.choice(_FIRST), self.name()
            if is_decent(first, surname) and is_decent(first[0], surname):
                return f"{first} {surname}"
