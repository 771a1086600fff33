"""Each thing that we hold of transformers beside its interface is still there."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from transformers import AttentionMaskInterface

from backends.transformers_compat import Cache, sdpa_attention_forward, sdpa_mask


def parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_a_cache_can_be_made_without_layers() -> None:
    assert Cache(layers=[]).layers == []


def test_a_cache_is_updated_by_layer() -> None:
    assert parameters(Cache.update)[:4] == ["self", "key_states", "value_states", "layer_idx"]


def test_a_cache_says_how_long_it_is() -> None:
    assert parameters(Cache.get_seq_length)[:2] == ["self", "layer_idx"]


def test_the_attention_that_we_fall_back_to_is_called_as_before() -> None:
    wanted = ["module", "query", "key", "value", "attention_mask", "dropout", "scaling"]
    assert parameters(sdpa_attention_forward)[: len(wanted)] == wanted


def test_that_attention_computes_causal_attention() -> None:
    module = torch.nn.Module()
    module.is_causal = True  # type: ignore[assignment]
    query, key, value = torch.randn(3, 1, 2, 5, 4)
    heads, weights = sdpa_attention_forward(module, query, key, value, None, scaling=0.5)
    expected = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, is_causal=True, scale=0.5
    )
    assert weights is None
    torch.testing.assert_close(heads, expected.transpose(1, 2))


def test_the_mask_is_that_of_the_attention_we_fall_back_to() -> None:
    assert AttentionMaskInterface()["sdpa"] is sdpa_mask
