"""What the pocket policy is taught: demonstrations as tokens, and drills of copying."""

from __future__ import annotations

import random
from collections.abc import Iterator

from transformers import PreTrainedTokenizerBase

from environment.email_search import SYSTEM_PROMPT
from environment.email_search.sample.names import NamePool
from environment.email_search.tools import tool_schemas
from models.pocket.demos import Demonstration, demonstrate, worlds
from models.sft import Example, drill, encode_pieces

_CONTEXT_WEIGHT = 0.1
_DRILLS = 0.15
_DRILL_WEIGHT = 0.5
# What they ask for is long to copy, or one of several candidates.
_HARD_KINDS = ("hotel", "lead", "phone", "flight")
_AFTER_TURN = (
    "\n<|im_start|>user\n<tool_response>\n{}\n</tool_response><|im_end|>\n<|im_start|>assistant\n"
)

_SCHEMAS = tool_schemas()


def encode(
    tokenizer: PreTrainedTokenizerBase, demo: Demonstration, context_weight: float
) -> Example:
    """An episode as the chat template would render it.

    Args:
        context_weight: weight of what others wrote. Mails repeat names and numbers, so a little
            of it teaches copying.
    """
    prompt = tokenizer.apply_chat_template(
        [
            {"role": "system", "content": SYSTEM_PROMPT},
            {"role": "user", "content": demo.user_prompt},
        ],
        tools=_SCHEMAS,
        add_generation_prompt=True,
        tokenize=False,
    )
    pieces = [(str(prompt), context_weight)]
    for index, turn in enumerate(demo.turns):
        if index % 2 == 0:
            pieces.append((turn.text + "<|im_end|>", 1.0 if turn.learn else 0.0))
        else:
            pieces.append((_AFTER_TURN.format(turn.text), context_weight))
    return encode_pieces(tokenizer, pieces)


def episodes(
    tokenizer: PreTrainedTokenizerBase, first_seed: int, good: float, easy: float
) -> Iterator[Example]:
    """Encoded episodes from world after world, each question asked at most once.

    Args:
        easy: share of the questions that are asked, of those that are not of a hard kind.
    """
    rng = random.Random(first_seed)
    for environment, inboxes in worlds(first_seed, 1_000_000):
        pairs = [pair for box in inboxes for pair in zip(box.scenarios, box.facts, strict=True)]
        for scenario, fact in pairs:
            if scenario.kind not in _HARD_KINDS and rng.random() >= easy:
                continue
            if rng.random() < _DRILLS:
                pool = NamePool(rng, "train")
                names = [pool.name() for _ in range(rng.choice((6, 9, 12)))]
                yield drill(tokenizer, names, rng, _DRILL_WEIGHT)
            demo = demonstrate(environment, scenario, fact, rng, good)
            yield encode(tokenizer, demo, _CONTEXT_WEIGHT)
