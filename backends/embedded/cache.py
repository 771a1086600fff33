"""A key-value cache with ragged rows, and the attention that reads it.

The conversations in a batch differ in length and grow turn by turn. So a forward pass concatenates
the new tokens of all rows, ``(1, T)``, without padding. Rows come and go without copying the
others: the running ones are contiguous, and the last one replaces one that ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PretrainedConfig

from backends.transformers_compat import Cache, sdpa_attention_forward, sdpa_mask

ATTENTION = "art_rl_ragged"
_CHUNK = 64
# What models pass to their attention without changing what it computes here.
_WITHOUT_EFFECT = {
    "cache_position",
    "dropout",
    "is_causal",
    "output_attentions",
    "output_hidden_states",
    "position_ids",
    "return_dict",
    "use_cache",
}


class UnknownAttention(RuntimeError):
    """A model's attention differs from what the sampler computes."""


@dataclass(slots=True)
class Prefix:
    """One conversation's cache. ``kv_L_2_H_T_D`` holds keys and values per layer, for the first
    ``T = len(ids)`` tokens."""

    ids: list[int]
    kv_L_2_H_T_D: torch.Tensor

    @property
    def nbytes(self) -> int:
        return self.kv_L_2_H_T_D.nbytes


class RaggedCache(Cache):
    """Keys and values of a batch, ``kv_L_2_B_H_T_D``, with the number of valid tokens per row.

    The first ``len(cache)`` rows are in use. The model must use the attention implementation
    ``ATTENTION`` and be called with ``ragged_cache=cache``.
    """

    def __init__(self, config: PretrainedConfig, like: torch.Tensor) -> None:
        super().__init__(layers=[])
        config = config.get_text_config()
        heads = config.num_key_value_heads
        width = getattr(config, "head_dim", None) or (
            config.hidden_size // config.num_attention_heads
        )
        self.kv = like.new_zeros((config.num_hidden_layers, 2, 0, heads, 0, width))
        self.lengths: list[int] = []
        self._first = 0
        self._counts: list[int] = []
        self._rows_T = self._positions_T = torch.zeros(0, dtype=torch.long, device=like.device)
        self._columns_S = torch.zeros(0, dtype=torch.long, device=like.device)
        self._masks: dict[int | None, torch.Tensor] = {}

    def __len__(self) -> int:
        return len(self.lengths)

    def add(self, rows: int = 1) -> int:
        """Add empty rows; returns the index of the first."""
        first = len(self)
        self.lengths += [0] * rows
        missing = len(self) - self.kv.shape[2]
        if missing > 0:
            # Doubling avoids a copy per row as a batch grows.
            missing = max(missing, self.kv.shape[2])
            self.kv = pad(self.kv, (0, 0, 0, 0, 0, 0, 0, missing))
        return first

    def begin(self, first: int, counts: Sequence[int]) -> torch.Tensor:
        """Grow the rows from ``first`` on by ``counts`` tokens and prepare the forward pass over
        these, concatenated.

        Returns:
            The positions of the new tokens in their rows, ``(1, T)``.
        """
        self._first, self._counts = first, list(counts)
        rows = range(first, first + len(counts))
        starts = [self.lengths[row] for row in rows]
        for row, count in zip(rows, counts, strict=True):
            self.lengths[row] += count
        self._reserve(max(self.lengths[row] for row in rows))
        device = self.kv.device
        if max(counts) == 1:
            self._rows_T = torch.arange(first, first + len(counts), device=device)
            self._positions_T = torch.tensor(starts, device=device)
            self._columns_S = torch.arange(max(starts) + 1, device=device)
            self._masks.clear()
        else:
            repeats = torch.tensor(counts, device=device)
            self._rows_T = torch.repeat_interleave(torch.tensor(rows, device=device), repeats)
            self._positions_T = torch.cat(
                [
                    torch.arange(start, start + count, device=device)
                    for start, count in zip(starts, counts, strict=True)
                ]
            )
        return self._positions_T[None]

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        cache_kwargs: dict[str, object] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store the new tokens' keys and values, ``(1, H, T, D)``; returns the whole layer."""
        keys, values = self.kv[layer_idx]
        keys[self._rows_T, :, self._positions_T] = key_states[0].transpose(0, 1)
        values[self._rows_T, :, self._positions_T] = value_states[0].transpose(0, 1)
        return keys, values

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return max(self.lengths, default=0)

    def attend(
        self,
        query: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        scaling: float,
        window: int | None = None,
        softcap: float | None = None,
    ) -> torch.Tensor:
        """Each new token attends to its own row up to itself.

        Args:
            query: ``(1, H, T, D)``.
            window: to the last ``window`` tokens only, itself included.
            softcap: scores are ``softcap * tanh(scores / softcap)`` (Gemma 2, section 2).

        Returns:
            ``(1, T, H, D)``.
        """
        if max(self._counts) == 1:
            return self._attend_with_last(query, keys, values, scaling, window, softcap)
        parts, start = [], 0
        for row, count in enumerate(self._counts, start=self._first):
            length = self.lengths[row]
            queries = query[:, :, start : start + count]
            row_keys, row_values = keys[None, row, :, :length], values[None, row, :, :length]
            mask = None
            if count < length or softcap or (window and window < length):
                mask = torch.ones((count, length), dtype=torch.bool, device=query.device)
                mask = mask.tril(length - count)
                if window:
                    mask = mask.triu(length - count - window + 1)
            if softcap:
                assert mask is not None
                parts.append(_capped(queries, row_keys, row_values, mask, scaling, softcap))
            else:
                parts.append(
                    scaled_dot_product_attention(
                        queries,
                        row_keys,
                        row_values,
                        attn_mask=mask,
                        is_causal=mask is None,
                        scale=scaling,
                        enable_gqa=query.shape[1] != keys.shape[1],
                    )
                )
            start += count
        return torch.cat(parts, dim=2).transpose(1, 2)

    def _attend_with_last(
        self,
        query: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        scaling: float,
        window: int | None,
        softcap: float | None,
    ) -> torch.Tensor:
        # One query per row: on a CPU, plain products take a third of the fused kernel's time.
        rows = slice(self._first, self._first + len(self._counts))
        mask = self._last_mask(window)
        span = mask.shape[-1]
        keys, values = keys[rows, :, :span], values[rows, :, :span]
        query_B_H_D = query[0].transpose(0, 1)
        grouped = query_B_H_D.reshape(len(query_B_H_D), keys.shape[1], -1, query.shape[-1])
        scores = torch.matmul(grouped * scaling, keys.transpose(-1, -2))
        if softcap:
            scores = softcap * torch.tanh(scores / softcap)
        weights = scores.masked_fill_(~mask, -torch.inf).softmax(dim=-1)
        return torch.matmul(weights, values).reshape(1, *query_B_H_D.shape)

    def _last_mask(self, window: int | None) -> torch.Tensor:
        """What the last token of each row attends to, ``(B, 1, 1, S)``."""
        if window not in self._masks:
            last = self._positions_T[:, None]
            mask = self._columns_S <= last
            if window:
                mask &= self._columns_S > last - window
            self._masks[window] = mask[:, None, None]
        return self._masks[window]

    def load(self, row: int, prefix: Prefix, tokens: int) -> None:
        """Start a row with the first ``tokens`` tokens of ``prefix``."""
        self._reserve(tokens)
        self.kv[:, :, row, :, :tokens] = prefix.kv_L_2_H_T_D[:, :, :, :tokens]
        self.lengths[row] = tokens

    def save(self, row: int, ids: list[int]) -> Prefix:
        """Copy a row's cache, which was computed from ``ids``."""
        tokens = self.lengths[row]
        return Prefix(ids[:tokens], self.kv[:, :, row, :, :tokens].clone())

    def copy(self, source: int, row: int) -> None:
        """Copy row ``source`` to ``row``."""
        tokens = self.lengths[source]
        self.kv[:, :, row, :, :tokens] = self.kv[:, :, source, :, :tokens]
        self.lengths[row] = tokens

    def remove(self, row: int) -> None:
        """Remove a row by moving the last one into its place."""
        last = len(self) - 1
        if row != last:
            self.copy(last, row)
        self.lengths.pop()

    def _reserve(self, tokens: int) -> None:
        """Make room for ``tokens`` tokens per row. Grows in chunks: shapes that vary from step to
        step fragment memory."""
        missing = -(-tokens // _CHUNK) * _CHUNK - self.kv.shape[4]
        if missing > 0:
            self.kv = pad(self.kv, (0, 0, 0, missing))


def _capped(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    mask_T_S: torch.Tensor,
    scaling: float,
    softcap: float,
) -> torch.Tensor:
    """Attention with capped scores, ``(1, H, T, D)``."""
    groups = query.shape[1] // keys.shape[1]
    keys, values = (x.repeat_interleave(groups, dim=1) for x in (keys, values))
    scores = softcap * torch.tanh(query @ keys.transpose(-1, -2) * (scaling / softcap))
    return scores.masked_fill(~mask_T_S, -torch.inf).softmax(dim=-1) @ values


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    sliding_window: int | None = None,
    softcap: float | None = None,
    ragged_cache: RaggedCache | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    unknown = {name for name, value in options.items() if value is not None} - _WITHOUT_EFFECT
    if unknown:
        raise UnknownAttention(
            f"its attention takes {min(unknown)}, which the sampler cannot compute"
        )
    if ragged_cache is not None:
        return ragged_cache.attend(query, key, value, scaling, sliding_window, softcap), None
    if softcap:
        raise UnknownAttention("capped scores are computed with a cache only")
    return sdpa_attention_forward(
        module, query, key, value, attention_mask, scaling=scaling, **options
    )


AttentionInterface.register(ATTENTION, _attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
