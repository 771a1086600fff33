"""What the code policy is taught: demonstrations as tokens, and drills of copying."""

from __future__ import annotations

import random
from collections.abc import Iterator

from transformers import PreTrainedTokenizerBase

from environment.code import prompts
from environment.code.bundled.wording import made_up
from models.pocket_code.demos import Demonstration, demonstrate, recipes
from models.pocket_code.tokenizer import END, MAX_ATTEMPTS, TO_AGENT, TO_USER
from models.sft import Example, drill, encode_pieces

_CONTEXT_WEIGHT = 0.05
_DRILLS = 0.1
_DRILL_WEIGHT = 0.5


def reply(program: str) -> str:
    return f"```python\n{program}\n```"


def messages_of(demo: Demonstration) -> list[dict[str, str]]:
    """The conversation as the environment holds it."""
    messages = [
        {"role": "system", "content": prompts.REFINE_SYSTEM},
        {"role": "user", "content": demo.user_prompt},
    ]
    for number, turn in enumerate(demo.turns, 1):
        messages.append({"role": "assistant", "content": reply(turn.program)})
        if turn.feedback and number < len(demo.turns):
            again = prompts.try_again(number, MAX_ATTEMPTS, turn.feedback)
            messages.append({"role": "user", "content": again})
    return messages


def encode(tokenizer: PreTrainedTokenizerBase, demo: Demonstration) -> Example:
    """An episode as the chat template would render it. What others wrote weighs a little, because
    predicting it teaches copying."""
    messages = messages_of(demo)
    prompt = tokenizer.apply_chat_template(messages[:2], add_generation_prompt=True, tokenize=False)
    pieces = [(str(prompt), _CONTEXT_WEIGHT)]
    learn = iter(turn.learn for turn in demo.turns)
    for message in messages[2:]:
        if message["role"] == "assistant":
            pieces.append((message["content"] + END, 1.0 if next(learn) else 0.0))
        else:
            pieces.append((TO_USER + message["content"] + TO_AGENT, _CONTEXT_WEIGHT))
    return encode_pieces(tokenizer, pieces)


def episodes(
    tokenizer: PreTrainedTokenizerBase, first_seed: int, good: float, recovers: float
) -> Iterator[Example]:
    """Endless encoded episodes of fresh problems, with drills between."""
    rng = random.Random(first_seed)
    for recipe in recipes(rng):
        if rng.random() < _DRILLS:
            names = [made_up(rng) for _ in range(rng.choice((4, 6, 8)))]
            yield drill(tokenizer, names, rng, _DRILL_WEIGHT)
        yield encode(tokenizer, demonstrate(recipe, rng, good, recovers))
