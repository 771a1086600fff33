"""Batched sampling, token by token, with caches kept across the turns of a conversation.

Knows token ids only. Requests that wait are taken into the running batch together; a prompt that
continues a cached conversation is prefilled from where that ends, and prompts that are equal (the
first turn of a group) are prefilled once.

Sampling inverts the cumulative distribution at a uniform number from the request's own seed, so a
request's tokens depend on its seed and not on the batch it happened to share.
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
    """A prompt, of which the first ``kept`` tokens are in ``prefix``."""

    ids: list[int]
    prefix: Prefix | None
    kept: int


class PrefixStore:
    """Caches of earlier conversations, the least recently used dropped beyond ``max_bytes``."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: OrderedDict[int, Prefix] = OrderedDict()
        self._next_key = 0

    def best(self, ids: list[int]) -> tuple[Prefix, int] | None:
        """The entry that shares the longest start with ``ids``, and how many tokens that is."""
        best_key, best_length = None, 0
        for key, prefix in self._entries.items():
            # Most share no more than the best one so far, which one comparison shows.
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
        # A conversation that has grown replaces what it has grown from.
        for key, held in self._entries.items():
            if len(held.ids) <= len(prefix.ids) and prefix.ids[: len(held.ids)] == held.ids:
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
    """The length of the common start."""
    limit = min(len(one), len(other))
    if one[:limit] == other[:limit]:
        return limit
    for index in range(limit):
        if one[index] != other[index]:
            return index
    return limit


class Sampler:
    """The running batch of one set of weights. Not thread-safe: one thread owns it."""

    def __init__(
        self, model: PreTrainedModel, end_ids: Sequence[int], prefix_bytes: int = 256 << 20
    ) -> None:
        self._model = model
        model.set_attn_implementation(ATTENTION)
        pack_linears(model)
        self._decoder = model.get_decoder()
        self._head = model.get_output_embeddings()
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
        """Prefill new requests and sample their first token; returns those finished already."""
        started = time.perf_counter()
        alike: dict[tuple[int, ...], list[SampleRequest]] = {}
        for request in requests:
            alike.setdefault(tuple(request.prompt_ids), []).append(request)
        prompts = [self._begin(list(prompt)) for prompt in alike]
        first = self._cache.add(len(prompts))
        logits = self._prefill(prompts, first)
        of = list(range(len(prompts)))
        new = [_Row(asking[0]) for asking in alike.values()]
        for index, asking in enumerate(alike.values()):
            for request in asking[1:]:
                self._cache.copy(first + index, self._cache.add())
                of.append(index)
                new.append(_Row(request))
        if len(new) > len(prompts):
            logits = logits[torch.tensor(of, device=logits.device)]
        self._rows += new
        self._next_ids = torch.cat([self._next_ids, self._draw(logits, new)])
        self.stats.requests += len(requests)
        self.stats.prompt_tokens += sum(len(r.prompt_ids) for r in requests)
        self.stats.prefill_s += time.perf_counter() - started
        return self._collect()

    @torch.inference_mode()
    def step(self) -> list[tuple[SampleRequest, Sample]]:
        """Sample one more token for every running request; returns those that finished.

        Raises:
            RuntimeError: none is running.
        """
        if not self._rows:
            raise RuntimeError("no request was admitted")
        started = time.perf_counter()
        hidden_T_E = self._forward(self._next_ids, 0, [1] * len(self._rows))
        self._next_ids = self._draw(self._head(hidden_T_E), self._rows)
        self.stats.decode_s += time.perf_counter() - started
        return self._collect()

    def _begin(self, prompt: list[int]) -> _Prompt:
        found = self._prefixes.best(prompt)
        # The last token is always run again: its logits are what sampling starts from.
        kept = min(found[1], len(prompt) - 1) if found else 0
        return _Prompt(prompt, found[0] if found else None, kept)

    def _prefill(self, prompts: Sequence[_Prompt], first: int) -> torch.Tensor:
        """Fill the rows from ``first`` on; the logits after each prompt's last token, ``(B, V)``."""
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
        """Run ``counts`` new tokens of each row from ``first`` on; their hidden states, ``(T, E)``."""
        positions = self._cache.begin(first, counts)
        output = self._decoder(
            input_ids=ids_T[None],
            # The cache knows what may be seen. A mask of four dimensions is left as it is.
            attention_mask=self._no_mask,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
            cache_position=positions[0],
            ragged_cache=self._cache,
        )
        return output.last_hidden_state[0]

    def _draw(self, logits_B_V: torch.Tensor, rows: Sequence[_Row]) -> torch.Tensor:
        """One token a row, recorded with the log-probability it was drawn with."""
        scores = logits_B_V.float()
        temperatures = [row.request.temperature for row in rows]
        if any(t not in (0.0, 1.0) for t in temperatures):
            # Below the floor every distribution is greedy, and the division would overflow.
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
            # A uniform number that rounds to 1 would fall on a token of no probability at all.
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
        """Take the finished rows out of the batch and keep their caches."""
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
