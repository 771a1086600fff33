"""A constructed start for copying.

Trained from random weights, a policy this small never learns to copy names it has not seen within
a laptop's budget. So its first two layers start out as an induction circuit (Olsson et al., 2022,
"In-context Learning and Induction Heads"), built by hand from ordinary Qwen2 weights:

- Layer 0, heads 0 and 1 look at the previous and the second-last token. Their attention comes from
  the query and key *biases* alone: with rotary embeddings, a constant query and key give a score
  that depends on distance only, and the phases are set to peak at distance one and two.
- Layer 1, heads 0 and 1 look where the *previous* token of a position equals the current token,
  matched in the slowest rotary dimensions, where distance hardly turns the vectors; what they find
  there is copied to the output.

It stays a plain Qwen2, and every weight trains normally afterwards.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from transformers import Qwen2Config, Qwen2ForCausalLM

_PREVIOUS_BIAS = 8.0
_PREVIOUS_GAIN = 0.055
_MATCH_GAIN = 2.2
_COPY_GAIN = 1.0
_FINAL_NORM = 4.0
_QUIET = 0.15
_PHASES = 10


def small_config(vocabulary: int, eos: int, pad: int, width: int) -> Qwen2Config:
    return Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        bos_token_id=None,
        eos_token_id=eos,
        pad_token_id=pad,
    )


def _random_init(model: Qwen2ForCausalLM) -> None:
    depth = model.config.num_hidden_layers
    for name, weight in model.named_parameters():
        if weight.dim() == 2:
            scale = 0.02 if "embed" in name else weight.shape[1] ** -0.5
            if "o_proj" in name or "down_proj" in name:
                scale /= math.sqrt(2 * depth)
            nn.init.normal_(weight, 0.0, scale)
        elif name.endswith("bias"):
            nn.init.zeros_(weight)


@torch.no_grad()
def wired_model(config: Qwen2Config, seed: int) -> Qwen2ForCausalLM:
    """A Qwen2 with random weights and the induction circuit described above."""
    torch.manual_seed(seed)
    model = Qwen2ForCausalLM(config)
    _random_init(model)
    hidden, width = config.hidden_size, config.hidden_size // config.num_attention_heads
    half = width // 2
    slow = torch.arange(half - half // 2, half)
    slow = torch.cat([slow, slow + half])
    n = len(slow)
    token = _orthonormal(hidden)[:n]
    basis = _orthonormal(hidden)
    previous, second_last = basis[:n], basis[n : 2 * n]
    for layer in model.model.layers:
        layer.mlp.down_proj.weight.mul_(_QUIET)
        layer.self_attn.o_proj.weight.mul_(_QUIET)

    frequencies = config.rope_parameters["rope_theta"] ** -(torch.arange(0, width, 2) / width)
    attention = model.model.layers[0].self_attn
    for head, (distance, written) in enumerate(((1, previous), (2, second_last))):
        rows = slice(head * width, (head + 1) * width)
        attention.q_proj.weight[rows] *= 0.05
        attention.k_proj.weight[rows] *= 0.05
        fast = torch.arange(min(_PHASES, half))
        phase = -distance * frequencies[fast]
        query, key = torch.zeros(width), torch.zeros(width)
        key[fast] = _PREVIOUS_BIAS
        query[fast] = _PREVIOUS_BIAS * torch.cos(phase)
        query[fast + half] = _PREVIOUS_BIAS * torch.sin(phase)
        attention.q_proj.bias[rows], attention.k_proj.bias[rows] = query, key
        attention.v_proj.weight[rows] = 0
        attention.v_proj.weight[rows][:n] = token
        attention.o_proj.weight[:, rows] = 0
        attention.o_proj.weight[:, rows][:, :n] = _PREVIOUS_GAIN * written.T

    attention = model.model.layers[1].self_attn
    copied = _orthonormal(hidden)
    for head in range(2):
        rows = slice(head * width, (head + 1) * width)
        query, key = torch.zeros(width, hidden), torch.zeros(width, hidden)
        query[slow], key[slow] = _MATCH_GAIN * token, _MATCH_GAIN * previous
        if head == 1:
            # Every other dimension matches one token further back: a two-token match.
            query[slow[1::2]] = _MATCH_GAIN * previous[1::2]
            key[slow[1::2]] = _MATCH_GAIN * second_last[1::2]
        attention.q_proj.weight[rows], attention.k_proj.weight[rows] = query, key
        attention.v_proj.weight[rows] = copied[rows]
        attention.o_proj.weight[:, rows] = _COPY_GAIN * copied[rows].T
    model.model.norm.weight.fill_(_FINAL_NORM)
    return model


def _orthonormal(size: int) -> torch.Tensor:
    return torch.linalg.qr(torch.randn(size, size))[0]
