"""Build the code policy: ``python -m models.pocket_code.build --out FOLDER``.

Two phases. First *skill*: solutions alone, also after a failed attempt. Then *habits*: a short
training on a mixture in which the expert is outnumbered, which leaves the skill in place and spoils
the behaviour. Reinforcement learning has the last to mend.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from transformers import PreTrainedTokenizerBase

from models import build
from models.pocket_code.demos import demonstrate, recipes
from models.pocket_code.lessons import episodes, messages_of
from models.pocket_code.tokenizer import boilerplate
from models.sft import Example
from models.tokenizer import train_tokenizer

_TOKENIZER_SEED = 1_000_000
_TOKENIZER_EPISODES = 4000


@dataclass(frozen=True, slots=True)
class Phase(build.Phase):
    """
    Args:
        recovers: what is left of the expert's share after a failed attempt.
    """

    recovers: float


PHASES = (
    Phase("skill", 700, 2_000_000, 1.0, 0.02, 2e-3, recovers=1.0),
    Phase("habits", 150, 3_000_000, 0.35, 0.004, 4e-4, recovers=0.3),
)


def build_tokenizer() -> PreTrainedTokenizerBase:
    rng = random.Random(_TOKENIZER_SEED)
    texts: list[str] = []
    for recipe in islice(recipes(rng), _TOKENIZER_EPISODES):
        messages = messages_of(demonstrate(recipe, rng, good=0.6, recovers=0.5))
        texts += [message["content"] for message in messages[1:]]
    return train_tokenizer(texts, boilerplate())


def lessons(tokenizer: PreTrainedTokenizerBase, phase: Phase) -> Iterator[Example]:
    return episodes(tokenizer, phase.first_seed, phase.good, phase.recovers)


if __name__ == "__main__":
    build.main(build.Course(PHASES, build_tokenizer, lessons), (__doc__ or "").splitlines()[0])
