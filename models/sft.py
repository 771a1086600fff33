"""Imitation of demonstrations: an endless stream of fresh episodes, one pass, no repeats.

Knows no environment: a policy's own lessons make the episodes.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch.nn import functional
from transformers import PreTrainedTokenizerBase, Qwen2ForCausalLM

log = logging.getLogger(__name__)

_POOL = 2048
_BATCH_TOKENS = 6144
_LOG_EVERY = 50
_WIDTH_STEP = 16
_LAST_RATE = 0.02

# Token ids, and for each its weight in the loss: 1 where the agent is to be imitated.
Example = tuple[list[int], list[float]]


def encode_pieces(
    tokenizer: PreTrainedTokenizerBase, pieces: Iterable[tuple[str, float]]
) -> Example:
    """Texts that follow each other, each with the weight of its tokens. No token spans two."""
    ids: list[int] = []
    weights: list[float] = []
    for text, weight in pieces:
        new = tokenizer.encode(text, add_special_tokens=False)
        ids.extend(new)
        weights.extend([weight] * len(new))
    return ids, weights


def drill(
    tokenizer: PreTrainedTokenizerBase, names: Sequence[str], rng: random.Random, weight: float
) -> Example:
    """Names and the same names again in another order: nothing but copying. The first token of a
    repeated name cannot be known and weighs nothing."""
    again = rng.sample(names, len(names))
    ids = tokenizer.encode(" ".join(names) + "\n", add_special_tokens=False)
    weights = [0.0] * len(ids)
    for name in again:
        new = tokenizer.encode(f"{name} ", add_special_tokens=False)
        ids += new
        weights += [0.0] + [weight] * (len(new) - 1)
    return ids, weights


def batches(stream: Iterator[Example], seed: int) -> Iterator[list[Example]]:
    """Batches of about ``_BATCH_TOKENS`` tokens with episodes of similar length."""
    rng = random.Random(seed)
    while True:
        pool = sorted((next(stream) for _ in range(_POOL)), key=lambda example: len(example[0]))
        grouped: list[list[Example]] = [[]]
        for example in pool:
            if grouped[-1] and (len(grouped[-1]) + 1) * len(example[0]) > _BATCH_TOKENS:
                grouped.append([])
            grouped[-1].append(example)
        rng.shuffle(grouped)
        yield from grouped


def _tensors(batch: Sequence[Example], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    # Widths in steps: every new shape costs memory that is not given back.
    width = -(-max(len(ids) for ids, _ in batch) // _WIDTH_STEP) * _WIDTH_STEP
    ids_B_T = torch.full((len(batch), width), pad)
    weights_B_T = torch.zeros((len(batch), width))
    for row, (ids, weights) in enumerate(batch):
        ids_B_T[row, : len(ids)] = torch.tensor(ids)
        weights_B_T[row, : len(ids)] = torch.tensor(weights)
    return ids_B_T, weights_B_T


def train(
    model: Qwen2ForCausalLM,
    stream: Iterator[Example],
    *,
    steps: int,
    seed: int,
    matrix_rate: float,
    other_rate: float,
    warmup: int = 30,
) -> None:
    """Train in place on ``steps`` batches: Muon on the matrices (Jordan et al., 2024), AdamW on the
    rest, rates falling linearly."""
    named = list(model.named_parameters())
    matrices = [p for name, p in named if p.dim() == 2 and "embed" not in name]
    others = [p for name, p in named if not (p.dim() == 2 and "embed" not in name)]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.Muon(
            matrices, lr=matrix_rate, weight_decay=0.0, momentum=0.95, adjust_lr_fn="original"
        ),
        torch.optim.AdamW(others, lr=other_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]
    rates = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
    batched = batches(stream, seed)
    model.train()
    started, tokens = time.monotonic(), 0
    recent: list[tuple[float, int, int]] = []
    for step in range(steps):
        scale = min((step + 1) / warmup, max(_LAST_RATE, 1 - step / steps))
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate * scale
        ids, weights = _tensors(next(batched), model.config.pad_token_id)
        loss, right, imitated = _loss(model, ids, weights)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        tokens += ids.numel()
        recent.append((loss.item(), right, imitated))
        if len(recent) == _LOG_EVERY:
            seconds = time.monotonic() - started
            losses, rights, all_imitated = (sum(column) for column in zip(*recent, strict=True))
            log.info(
                "step %d: loss %.4f, accuracy %.4f, %.0f s, %.0f tokens/s",
                step + 1,
                losses / len(recent),
                rights / max(1, all_imitated),
                seconds,
                tokens / seconds,
            )
            recent.clear()


def _loss(
    model: Qwen2ForCausalLM, ids_B_T: torch.Tensor, weights_B_T: torch.Tensor
) -> tuple[torch.Tensor, int, int]:
    """Weighted mean cross-entropy; how many of the agent's tokens were predicted right, of how
    many."""
    chosen = weights_B_T[:, 1:] > 0
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.model(input_ids=ids_B_T).last_hidden_state[:, :-1]
        logits = model.lm_head(hidden[chosen]).float()
    target, weights = ids_B_T[:, 1:][chosen], weights_B_T[:, 1:][chosen]
    losses = functional.cross_entropy(logits, target, reduction="none")
    imitated = weights == 1.0
    right = (logits.argmax(-1) == target) & imitated
    return (losses * weights).sum() / weights.sum(), int(right.sum()), int(imitated.sum())
