"""Write sums that the arithmetic policy was never taught, as examples of the prompt task:
``python -m models.pocket_math.examples --out sums.jsonl``."""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from environment.jsonl import write_jsonl
from environment.prompt_task.examples import different
from environment.prompt_task.models import Example
from models.pocket_math.sums import draw_sum, question


def sums(count: int, seed: int) -> list[Example]:
    """So many different questions."""
    rng = random.Random(seed)
    examples: list[Example] = []
    while len(examples) < count:
        sum_ = draw_sum(rng)
        if not sum_.taught:
            example = Example(prompt=question(sum_, rng), answer=str(sum_.value))
            examples = different([*examples, example])
    return examples


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    write_jsonl(arguments.out, sums(arguments.count, arguments.seed))
