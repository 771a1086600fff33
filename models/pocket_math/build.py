"""Build the arithmetic policy: ``python -m models.pocket_math.build --out FOLDER``.

Two phases. First *skill*: right answers alone. Then *habits*: a short training on a mixture in which
the expert is outnumbered, which leaves the skill in place and spoils the behaviour. Reinforcement
learning has the last to mend.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from transformers import PreTrainedTokenizerBase

from models.build import Course, Phase, main
from models.pocket_math.lessons import END, episodes, messages
from models.sft import Example
from models.tokenizer import train_tokenizer

WIDTH = 128
PHASES = (
    Phase("skill", 750, 2_000_000, 1.0, 0.02, 2e-3),
    Phase("habits", 100, 3_000_000, 0.45, 0.004, 4e-4),
)
_TOKENIZER_SEED = 1_000_000
_TOKENIZER_EPISODES = 4000
_FRAMES = (
    "<|im_start|>system\n",
    f"\n{END}\n<|im_start|>user\n",
    "<|im_start|>user\n",
    f"{END}\n<|im_start|>assistant\n",
)


def build_tokenizer() -> PreTrainedTokenizerBase:
    rng = random.Random(_TOKENIZER_SEED)
    texts = [m["content"] for _ in range(_TOKENIZER_EPISODES) for m in messages(rng, good=0.6)]
    return train_tokenizer(texts, _FRAMES, digits=1)


def lessons(tokenizer: PreTrainedTokenizerBase, phase: Phase) -> Iterator[Example]:
    return episodes(tokenizer, phase.first_seed, phase.good)


if __name__ == "__main__":
    course = Course(PHASES, build_tokenizer, lessons, width=WIDTH)
    main(course, (__doc__ or "").splitlines()[0])
