"""Shortens rollouts that together exceed a judge's context window.

Only tool results are cut: the longest first, all to the same length, and no more than needed. The cut
is in the middle and states how many characters are missing. Prompts and the agent's own messages,
including its final answer, are never cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from environment.language_model import LlmFailed

Conversation = Sequence[Mapping[str, Any]]
_BYTES_PER_TOKEN = 3  # a conservative estimate for English with any tokenizer
_SHORTEST_RESULT = 100


def shortened(
    conversations: Sequence[Conversation],
    prompt: Callable[[Sequence[Conversation]], str],
    window_tokens: int,
) -> str:
    """The longest prompt from these conversations that fits the window.

    Raises:
        LlmFailed: it does not fit even with minimal tool results.
    """

    def cut_to(longest: int) -> str:
        return prompt([[_cut(message, longest) for message in c] for c in conversations])

    def fits(text: str) -> bool:
        return len(text.encode()) <= window_tokens * _BYTES_PER_TOKEN

    whole = prompt(conversations)
    if fits(whole):
        return whole
    best = cut_to(_SHORTEST_RESULT)
    if not fits(best):
        needed = -(-len(best.encode()) // _BYTES_PER_TOKEN)
        raise LlmFailed(
            f"the attempts of the group need about {needed:,} tokens with every tool result cut to "
            f"{_SHORTEST_RESULT} characters; judge.window_tokens is {window_tokens:,}"
        )
    low, high = _SHORTEST_RESULT, max(map(len, _results(conversations)))
    while high - low > 1:
        middle = (low + high) // 2
        text = cut_to(middle)
        if fits(text):
            low, best = middle, text
        else:
            high = middle
    return best


def _results(conversations: Sequence[Conversation]) -> Iterator[str]:
    for conversation in conversations:
        for message in conversation:
            if message["role"] == "tool" and isinstance(message.get("content"), str):
                yield message["content"]


def _cut(message: Mapping[str, Any], longest: int) -> Mapping[str, Any]:
    text = message.get("content")
    if message["role"] != "tool" or not isinstance(text, str) or len(text) <= longest:
        return message
    head, tail = longest - longest // 2, longest // 2
    mark = f"[... {len(text) - longest} characters cut for the judge ...]"
    return {**message, "content": f"{text[:head]}{mark}{text[len(text) - tail :]}"}
