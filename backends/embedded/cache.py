"""A key-value cache whose rows have lengths of their own.

Conversations of one batch are of different lengths, and each of them continues turn after turn.
Every row is written from its own position on, so nothing is padded on the left and a finished
row's cache can be kept for the next turn.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import PretrainedConfig
from transformers.cache_utils import Cache

_CHUNK = 64


@dataclass(slots=True)
class Prefix:
    """The cache of one conversation so far. ``kv_L_2_H_T_D`` holds keys and values per layer, for
    the first ``T = len(ids)`` tokens."""

    ids: list[int]
    kv_L_2_H_T_D: torch.Tensor

    @property
    def nbytes(self) -> int:
        return self.kv_L_2_H_T_D.nbytes


class RaggedCache(Cache):
    """Keys and values of a batch, ``kv_L_2_B_H_T_D``, with the number of valid tokens per row."""

    def __init__(self, config: PretrainedConfig, rows: int, like: torch.Tensor) -> None:
        super().__init__(layers=[])
        heads = config.num_key_value_heads
        width = getattr(config, "head_dim", None) or (
            config.hidden_size // config.num_attention_heads
        )
        self.kv = like.new_zeros((config.num_hidden_layers, 2, rows, heads, 0, width))
        self.lengths = torch.zeros(rows, dtype=torch.long, device=like.device)
        self._rows_B_1 = torch.arange(rows, device=like.device)[:, None]
        self._positions_B_T = self.lengths[:, None]
        self._span = 0

    def __len__(self) -> int:
        return self.kv.shape[2]

    def reserve(self, tokens: int) -> None:
        """Make room for ``tokens`` tokens a row. Grows in chunks: shapes that vary from step to
        step fragment the allocator's memory."""
        missing = -(-tokens // _CHUNK) * _CHUNK - self.kv.shape[4]
        if missing > 0:
            self.kv = torch.nn.functional.pad(self.kv, (0, 0, 0, missing))

    def begin(self, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Prepare a forward pass over ``width`` new tokens a row.

        Returns:
            The positions of the new tokens, ``(B, T)``, and the mask ``(B, 1, T, S)`` of what each
            of them may look at.
        """
        longest = int(self.lengths.max())
        self._span = longest + width
        self.reserve(self._span)
        steps = torch.arange(width, device=self.kv.device)
        self._positions_B_T = self.lengths[:, None] + steps
        seen = torch.arange(self._span, device=self.kv.device)
        return self._positions_B_T, (seen <= self._positions_B_T[:, :, None])[:, None]

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        cache_kwargs: dict[str, object] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        keys, values = self.kv[layer_idx]
        keys[self._rows_B_1, :, self._positions_B_T] = key_states.transpose(1, 2)
        values[self._rows_B_1, :, self._positions_B_T] = value_states.transpose(1, 2)
        return keys[:, :, : self._span], values[:, :, : self._span]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return int(self.lengths.max()) if len(self) else 0

    def load(self, row: int, prefix: Prefix, tokens: int) -> None:
        """Start a row with the first ``tokens`` tokens of ``prefix``."""
        self.reserve(tokens)
        self.kv[:, :, row, :, :tokens] = prefix.kv_L_2_H_T_D[:, :, :, :tokens]
        self.lengths[row] = tokens

    def save(self, row: int, ids: list[int]) -> Prefix:
        """Keep a row's cache, for the ids it was made of."""
        tokens = int(self.lengths[row])
        return Prefix(ids[:tokens], self.kv[:, :, row, :, :tokens].clone())

    def select(self, rows: torch.Tensor) -> None:
        """Keep only these rows, in this order; a row may be named more than once."""
        self.kv = self.kv[:, :, rows]
        self.lengths = self.lengths[rows]
        self._rows_B_1 = torch.arange(len(rows), device=self.kv.device)[:, None]

    def append(self, other: RaggedCache) -> None:
        """Add the rows of ``other`` below."""
        tokens = max(self.kv.shape[4], other.kv.shape[4])
        self.reserve(tokens)
        other.reserve(tokens)
        self.kv = torch.cat([self.kv, other.kv], dim=2)
        self.lengths = torch.cat([self.lengths, other.lengths])
        self._rows_B_1 = torch.arange(len(self.lengths), device=self.kv.device)[:, None]
