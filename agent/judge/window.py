"""Shorten rollouts that are longer together than a judge can read.

The rule: only results of tools are cut, the longest first, all of them to the same length, and no
further than the prompt needs. A cut is in the middle, with a mark that says how many characters
are missing. What the agent was told and what it did itself, its final answer included, are never
cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from agent.judge.config import JudgeFailed

Conversation = Sequence[Mapping[str, Any]]
_BYTES_PER_TOKEN = 3  # fewer than of English in any tokenizer, so the estimate is on the safe side
_SHORTEST_RESULT = 100


def shortened(
    conversations: Sequence[Conversation],
    prompt: Callable[[Sequence[Conversation]], str],
    window_tokens: int,
) -> str:
    """The longest prompt of these conversations that fits the window.

    Raises:
        JudgeFailed: it does not fit, however short the results of tools become.
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
        raise JudgeFailed(
            f"the attempts of the group need about {needed:,} tokens with every result of a tool "
            f"cut to {_SHORTEST_RESULT} characters; judge.window_tokens is {window_tokens:,}"
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
