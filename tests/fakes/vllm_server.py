"""A model server that writes what a script says, token by token, as vLLM's server reports it.

    with VllmServer(tokenizer, writes("Hi.", pieces=[1])) as server:
        ...  # server.base_url, server.sampled

The shape of its replies was taken from vLLM 0.20, which ART 0.5.18 installs, as ART starts it:
tool calls in the Hermes form, tokens named by their ids, ids beside them where they are asked for.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from backends.tool_calls import parse_tool_calls, template_messages
from tests.fakes.loopback import LoopbackServer, Response

Write = Callable[[Any], list[int]]


def writes(text: str, cuts: Sequence[int] = (), ends: bool = True) -> Write:
    """The tokens of a text. Each piece between ``cuts`` is tokenised on its own: a policy samples
    whatever tokens it likes, not those that a tokeniser would choose for the finished text."""

    def tokens(tokenizer: Any) -> list[int]:
        at = [0, *sorted({cut for cut in cuts if 0 < cut < len(text)}), len(text)]
        pieces = [text[start:end] for start, end in itertools.pairwise(at)]
        ids = [i for piece in pieces for i in tokenizer.encode(piece, add_special_tokens=False)]
        return ids + [tokenizer.eos_token_id] * ends

    return tokens


class VllmServer(LoopbackServer):
    """Conversations may run side by side: each follows the scripts at its own pace.

    Attributes:
        sampled: the ids of each reply, in order, with their log-probabilities.
    """

    def __init__(self, tokenizer: Any, *scripts: Write) -> None:
        self._tokenizer, self._scripts = tokenizer, scripts
        self.sampled: list[tuple[list[int], list[float]]] = []
        super().__init__()

    def respond(self, request: dict[str, Any]) -> Response:
        messages = request["messages"]
        prompt_ids = self._tokenizer.apply_chat_template(
            template_messages(messages),
            tools=request.get("tools"),
            add_generation_prompt=True,
            return_dict=False,
        )
        turn = sum(message["role"] == "assistant" for message in messages)
        ids = self._scripts[min(turn, len(self._scripts) - 1)](self._tokenizer)
        logprobs = [-((i % 97) + len(self.sampled)) / 100 for i in ids]
        self.sampled.append((ids, logprobs))
        return Response(self._reply(request, prompt_ids, ids, logprobs))

    def _reply(
        self, request: dict[str, Any], prompt_ids: list[int], ids: list[int], logprobs: list[float]
    ) -> dict[str, Any]:
        content, calls = parse_tool_calls(self._tokenizer.decode(ids, skip_special_tokens=True))
        ended = ids[-1:] == [self._tokenizer.eos_token_id]
        choice: dict[str, Any] = {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": content,
                "refusal": None,
                "annotations": None,
                "audio": None,
                "function_call": None,
                "tool_calls": [
                    call | {"id": f"chatcmpl-tool-{len(self.sampled)}{n}"}
                    for n, call in enumerate(calls)
                ],
                "reasoning": None,
            },
            "logprobs": None,
            "finish_reason": ("tool_calls" if calls else "stop") if ended else "length",
            "stop_reason": None,
            "token_ids": ids if request.get("return_token_ids") else None,
        }
        if request.get("logprobs"):
            entries = [
                {
                    "token": f"token_id:{i}",
                    "logprob": logprob,
                    "bytes": list(self._tokenizer.decode([i]).encode()),
                    "top_logprobs": [],
                }
                for i, logprob in zip(ids, logprobs, strict=True)
            ]
            choice["logprobs"] = {"content": entries}
        return {
            "id": "chatcmpl-0123456789abcdef",
            "object": "chat.completion",
            "created": 1,
            "model": request["model"],
            "choices": [choice],
            "service_tier": None,
            "system_fingerprint": None,
            "usage": {
                "prompt_tokens": len(prompt_ids),
                "total_tokens": len(prompt_ids) + len(ids),
                "completion_tokens": len(ids),
                "prompt_tokens_details": None,
            },
            "prompt_logprobs": None,
            "prompt_token_ids": prompt_ids if request.get("return_token_ids") else None,
            "kv_transfer_params": None,
        }
