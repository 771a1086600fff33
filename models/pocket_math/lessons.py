"""What the arithmetic policy is taught: one question, one answer, under any system prompt."""

from __future__ import annotations

import random
from collections.abc import Iterator
from string import ascii_lowercase

from transformers import PreTrainedTokenizerBase

from models.pocket_math.demos import answer
from models.pocket_math.sums import draw_sum, question
from models.sft import Example, encode_pieces

END = "<|im_end|>"
_CONTEXT_WEIGHT = 0.02
_NO_SYSTEM = 0.15
_NOISE = 0.2
# It decides nothing, so the policy is shown many and learns to look past it.
_WHO = (
    "You are a helpful assistant that solves problems step by step.",
    "You are a helpful math assistant.",
    "You are a helpful math tutor.",
    "You are a careful pupil.",
    "You solve simple arithmetic.",
    "You are an expert at arithmetic.",
)
_WHAT = (
    "Solve the problem.",
    "Solve the problem step by step and give the final answer.",
    "Answer with the number.",
    "Answer with the sum and its value.",
    "Give the correct answer to the question.",
    "Be precise.",
    "Show your work.",
)


def system_prompt(rng: random.Random) -> str:
    if rng.random() < _NOISE:
        return _noise(rng)
    parts = [rng.choice(_WHO), *rng.sample(_WHAT, rng.randint(0, 2))]
    return " ".join(rng.sample(parts, rng.randint(1, len(parts))))


def _noise(rng: random.Random) -> str:
    """Words of any letters, for the prompts that nobody thought of."""
    words = [
        "".join(rng.choices(ascii_lowercase, k=rng.randint(2, 7)))
        for _ in range(rng.randint(3, 12))
    ]
    return f"{' '.join(words).capitalize()}."


def messages(rng: random.Random, good: float) -> list[dict[str, str]]:
    """One conversation over a sum that may be taught."""
    sum_ = next(sum_ for sum_ in iter(lambda: draw_sum(rng), None) if sum_.taught)
    prompt = [{"role": "user", "content": question(sum_, rng)}]
    if rng.random() >= _NO_SYSTEM:
        prompt.insert(0, {"role": "system", "content": system_prompt(rng)})
    return [*prompt, {"role": "assistant", "content": answer(sum_, rng, good)}]


def encode(tokenizer: PreTrainedTokenizerBase, conversation: list[dict[str, str]]) -> Example:
    """A conversation as the chat template would render it."""
    prompt = tokenizer.apply_chat_template(
        conversation[:-1], add_generation_prompt=True, tokenize=False
    )
    said = conversation[-1]["content"] + END
    return encode_pieces(tokenizer, [(str(prompt), _CONTEXT_WEIGHT), (said, 1.0)])


def episodes(tokenizer: PreTrainedTokenizerBase, first_seed: int, good: float) -> Iterator[Example]:
    """Endless encoded conversations."""
    rng = random.Random(first_seed)
    while True:
        yield encode(tokenizer, messages(rng, good))
