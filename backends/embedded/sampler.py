"""Continuous-batching sampler with a prefix cache across the turns of a conversation.

Handles token ids only. Waiting requests join the running batch together; a prompt that continues a
cached conversation is prefilled from there, and equal prompts (the first turn of a group) are
prefilled once.

Sampling inverts the cumulative distribution at a uniform number from the request's own seed, so the
tokens depend on the seed, not on the other requests in the batch.
"""

from __future__ import annotations

import random
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from transformers import PreTrainedModel

from backends.embedded.cache import ATTENTION, Prefix, RaggedCache
from backends.embedded.head import Head
from backends.embedded.packed import pack_linears
from backends.sampling import Sample, SampleRequest, SamplerStats

_COLDEST = 1e-5


@dataclass(slots=True)
class _Row:
    """A request in the batch."""

    request: SampleRequest
    rng: random.Random = field(init=False)
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.request.seed)


@dataclass(frozen=True, slots=True)
class _Prompt:
    """A prompt whose first ``kept`` tokens are cached in ``prefix``."""

    ids: list[int]
    prefix: Prefix | None
    kept: int


class PrefixStore:
    """LRU store of earlier conversations' caches, up to ``max_bytes``."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: OrderedDict[int, Prefix] = OrderedDict()
        self._next_key = 0

    def best(self, ids: list[int]) -> tuple[Prefix, int] | None:
        """The entry with the longest common prefix with ``ids``, and its length."""
        best_key, best_length = None, 0
        for key, prefix in self._entries.items():
            # Skip entries that cannot beat the best one so far.
            if prefix.ids[: best_length + 1] != ids[: best_length + 1]:
                continue
            length = _common(prefix.ids, ids)
            if length > best_length:
                best_key, best_length = key, length
        if best_key is None:
            return None
        self._entries.move_to_end(best_key)
        return self._entries[best_key], best_length

    def put(self, prefix: Prefix) -> None:
        # A conversation replaces the shorter entry that it continues.
        for key, entry in self._entries.items():
            if len(entry.ids) <= len(prefix.ids) and prefix.ids[: len(entry.ids)] == entry.ids:
                self._bytes -= self._entries.pop(key).nbytes
                break
        self._entries[self._next_key] = prefix
        self._next_key += 1
        self._bytes += prefix.nbytes
        while self._bytes > self._max_bytes and self._entries:
            self._bytes -= self._entries.popitem(last=False)[1].nbytes

    def clear(self) -> None:
        self._entries.clear()
        self._bytes = 0


def _common(one: list[int], other: list[int]) -> int:
    """The length of the common prefix."""
    limit = min(len(one), len(other))
    if one[:limit] == other[:limit]:
        return limit
    return next(index for index in range(limit) if one[index] != other[index])


class Sampler:
    """The running batch of one set of weights. Not thread-safe.

    Args:
        vocabulary: the number of tokens to sample from; see ``Head``.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        end_ids: Sequence[int],
        prefix_bytes: int = 256 << 20,
        vocabulary: int | None = None,
    ) -> None:
        self._model = model
        model.set_attn_implementation(ATTENTION)
        pack_linears(model)
        self._decoder = model.get_decoder()
        self._head = Head(model, vocabulary)
        self._end_ids = frozenset(end_ids)
        self._no_mask = self._head.weight.new_zeros((1, 1, 1, 1))
        self._rows: list[_Row] = []
        self._cache = self._empty_cache()
        self._next_ids = torch.empty(0, dtype=torch.long, device=self._head.weight.device)
        self._prefixes = PrefixStore(prefix_bytes)
        self.stats = SamplerStats()

    def _empty_cache(self) -> RaggedCache:
        return RaggedCache(self._model.config, self._head.weight)

    @property
    def active(self) -> int:
        return len(self._rows)

    def abort(self) -> None:
        """Drop the running batch and all caches."""
        self._rows, self._cache = [], self._empty_cache()
        self._next_ids = self._next_ids[:0]
        self._prefixes.clear()

    @torch.inference_mode()
    def admit(self, requests: Sequence[SampleRequest]) -> list[tuple[SampleRequest, Sample]]:
        """Prefill new requests and sample their first tokens; returns those already finished."""
        started = time.perf_counter()
        by_prompt: dict[tuple[int, ...], list[SampleRequest]] = {}
        for request in requests:
            by_prompt.setdefault(tuple(request.prompt_ids), []).append(request)
        prompts = [self._begin(list(prompt)) for prompt in by_prompt]
        first = self._cache.add(len(prompts))
        logits = self._prefill(prompts, first)
        prompt_index = list(range(len(prompts)))
        new = [_Row(group[0]) for group in by_prompt.values()]
        for index, group in enumerate(by_prompt.values()):
            for request in group[1:]:
                self._cache.copy(first + index, self._cache.add())
                prompt_index.append(index)
                new.append(_Row(request))
        if len(new) > len(prompts):
            logits = logits[torch.tensor(prompt_index, device=logits.device)]
        self._rows += new
        self._next_ids = torch.cat([self._next_ids, self._draw(logits, new)])
        self.stats.requests += len(requests)
        self.stats.prompt_tokens += sum(len(r.prompt_ids) for r in requests)
        self.stats.prefill_s += time.perf_counter() - started
        return self._collect()

    @torch.inference_mode()
    def step(self) -> list[tuple[SampleRequest, Sample]]:
        """Sample one token for every running request; returns those that finished.

        Raises:
            RuntimeError: no request is running.
        """
        if not self._rows:
            raise RuntimeError("no request was admitted")
        started = time.perf_counter()
        hidden_T_E = self._forward(self._next_ids, 0, [1] * len(self._rows))
        self._next_ids = self._draw(self._head(hidden_T_E), self._rows)
        self.stats.decode_s += time.perf_counter() - started
        return self._collect()

    def _begin(self, prompt: list[int]) -> _Prompt:
        prefix, length = self._prefixes.best(prompt) or (None, 0)
        # Always rerun the last token: sampling needs its logits.
        return _Prompt(prompt, prefix, min(length, len(prompt) - 1))

    def _prefill(self, prompts: Sequence[_Prompt], first: int) -> torch.Tensor:
        """Fill the rows from ``first`` on; returns the logits after each prompt, ``(B, V)``."""
        counts = [len(prompt.ids) - prompt.kept for prompt in prompts]
        new: list[int] = []
        for row, prompt in enumerate(prompts, start=first):
            if prompt.prefix and prompt.kept:
                self._cache.load(row, prompt.prefix, prompt.kept)
            new += prompt.ids[prompt.kept :]
        device = self._head.weight.device
        hidden_T_E = self._forward(torch.tensor(new, device=device), first, counts)
        self.stats.prefilled_tokens += len(new)
        last = torch.tensor(counts, device=device).cumsum(0) - 1
        return self._head(hidden_T_E[last])

    def _forward(self, ids_T: torch.Tensor, first: int, counts: Sequence[int]) -> torch.Tensor:
        """Run ``counts`` new tokens of the rows from ``first`` on; returns the hidden states,
        ``(T, E)``."""
        positions = self._cache.begin(first, counts)
        output = self._decoder(
            input_ids=ids_T[None],
            # The cache does the masking. Transformers passes a 4-D mask through unchanged.
            attention_mask=self._no_mask,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
            cache_position=positions[0],
            ragged_cache=self._cache,
        )
        return output.last_hidden_state[0]

    def _draw(self, logits_B_V: torch.Tensor, rows: Sequence[_Row]) -> torch.Tensor:
        """Sample and record one token per row, with its log-probability."""
        scores = logits_B_V.float()
        temperatures = [row.request.temperature for row in rows]
        if any(t not in (0.0, 1.0) for t in temperatures):
            # Below this floor sampling is greedy anyway, and the division would overflow.
            scaled = [max(t, _COLDEST) if t else 1.0 for t in temperatures]
            scale = torch.tensor(scaled, device=scores.device)
            scores = scores / scale[:, None]
        logprobs_B_V = torch.log_softmax(scores, dim=-1)
        chosen = logprobs_B_V.argmax(dim=-1)
        if any(temperatures):
            cumulative = logprobs_B_V.exp().cumsum(dim=-1)
            uniform = torch.tensor([row.rng.random() for row in rows], device=scores.device)
            threshold = uniform[:, None] * cumulative[:, -1:]
            drawn = torch.searchsorted(cumulative, threshold, right=True)[:, 0]
            # A uniform number rounded to 1 would select a token of zero probability.
            last = (cumulative < cumulative[:, -1:]).sum(dim=-1)
            drawn = torch.minimum(drawn, last)
            greedy = torch.tensor([t == 0.0 for t in temperatures], device=scores.device)
            chosen = torch.where(greedy, chosen, drawn)
        picked = logprobs_B_V.gather(1, chosen[:, None])[:, 0]
        for row, token, logprob in zip(rows, chosen.tolist(), picked.tolist(), strict=True):
            row.token_ids.append(token)
            row.logprobs.append(logprob)
        self.stats.sampled_tokens += len(rows)
        return chosen

    def _collect(self) -> list[tuple[SampleRequest, Sample]]:
        """Remove finished rows from the batch and store their caches."""
        finished: list[tuple[SampleRequest, Sample]] = []
        running = list(range(len(self._rows)))
        for index in reversed(range(len(self._rows))):
            row = self._rows[index]
            ended = row.token_ids[-1] in self._end_ids
            if ended or len(row.token_ids) >= row.request.max_tokens:
                sample = Sample(row.token_ids, row.logprobs, ended)
                finished.append((row.request, sample))
                ids = row.request.prompt_ids + row.token_ids
                self._prefixes.put(self._cache.save(index, ids))
                self._cache.remove(index)
                self._rows[index], running[index] = self._rows[-1], running[-1]
                del self._rows[-1], running[-1]
        if finished:
            self._next_ids = self._next_ids[running]
        return finished
