"""Build the pocket policy: ``python -m models.pocket.build --out FOLDER``.

Three phases. First *skill*: the scripted expert alone, until the policy copies and chooses well.
Then *polish*: the same at a lower rate, with the hard kinds of questions more often. Then *habits*:
a short training on a mixture in which the expert is outnumbered, which leaves the skill in place
and spoils the behaviour. Reinforcement learning has the last to mend.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from models import build
from models.pocket.demos import demonstrate, worlds
from models.pocket.lessons import episodes
from models.pocket.tokenizer import boilerplate
from models.sft import Example
from models.tokenizer import train_tokenizer

_TOKENIZER_WORLDS = 1_000_000
_EPISODES_PER_INBOX = 60


@dataclass(frozen=True, slots=True)
class Phase(build.Phase):
    """
    Args:
        easy: share of the questions of easy kinds that are asked.
    """

    easy: float


PHASES = (
    Phase("skill", 4000, 2_000_000, 1.0, 0.02, 2e-3, easy=1.0),
    Phase("polish", 1200, 4_000_000, 1.0, 0.01, 1e-3, easy=0.3),
    Phase("habits", 250, 3_000_000, 0.45, 0.004, 4e-4, easy=1.0),
)


def build_tokenizer() -> PreTrainedTokenizerBase:
    rng = random.Random(0)
    texts: list[str] = []
    for environment, inboxes in worlds(_TOKENIZER_WORLDS, 12):
        for inbox in inboxes:
            pairs = list(zip(inbox.scenarios, inbox.facts, strict=True))
            for scenario, fact in rng.sample(pairs, _EPISODES_PER_INBOX):
                demo = demonstrate(environment, scenario, fact, rng, good=0.6)
                texts += [demo.user_prompt, *(turn.text for turn in demo.turns)]
    return train_tokenizer(texts, boilerplate())


def lessons(tokenizer: PreTrainedTokenizerBase, phase: Phase) -> Iterator[Example]:
    return episodes(tokenizer, phase.first_seed, phase.good, phase.easy)


if __name__ == "__main__":
    build.main(build.Course(PHASES, build_tokenizer, lessons), (__doc__ or "").splitlines()[0])
