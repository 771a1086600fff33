"""Imitation of the demonstrations: an endless stream of fresh episodes, one pass, no repeats."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator, Sequence

import torch
from torch.nn import functional
from transformers import PreTrainedTokenizerBase, Qwen2ForCausalLM

from environment.email_search import SYSTEM_PROMPT
from environment.email_search.sample.names import NamePool
from environment.email_search.tools import tool_schemas
from models.pocket.demos import Demonstration, demonstrate, worlds

log = logging.getLogger(__name__)

_POOL = 2048
_BATCH_TOKENS = 6144
_LOG_EVERY = 50
_WIDTH_STEP = 16
_LAST_RATE = 0.02
_DRILL_WEIGHT = 0.5
# What they ask for is long to copy, or one of several candidates.
_HARD_KINDS = ("hotel", "lead", "phone", "flight")
_AFTER_TURN = (
    "\n<|im_start|>user\n<tool_response>\n{}\n</tool_response><|im_end|>\n<|im_start|>assistant\n"
)

_SCHEMAS = tool_schemas()

# Token ids, and for each its weight in the loss: 1 where the agent is to be imitated.
Example = tuple[list[int], list[float]]


def encode(
    tokenizer: PreTrainedTokenizerBase, demo: Demonstration, context_weight: float
) -> Example:
    """An episode as the chat template would render it.

    Args:
        context_weight: weight of what others wrote. Mails repeat names and numbers, so a little
            of it teaches copying.
    """
    prompt = tokenizer.apply_chat_template(
        [
            {"role": "system", "content": SYSTEM_PROMPT},
            {"role": "user", "content": demo.user_prompt},
        ],
        tools=_SCHEMAS,
        add_generation_prompt=True,
        tokenize=False,
    )
    ids: list[int] = []
    weights: list[float] = []

    def add(text: str, weight: float) -> None:
        new = tokenizer.encode(text, add_special_tokens=False)
        ids.extend(new)
        weights.extend([weight] * len(new))

    add(prompt, context_weight)
    for index, turn in enumerate(demo.turns):
        if index % 2 == 0:
            add(turn.text + "<|im_end|>", 1.0 if turn.learn else 0.0)
        else:
            add(_AFTER_TURN.format(turn.text), context_weight)
    return ids, weights


def drill(tokenizer: PreTrainedTokenizerBase, rng: random.Random) -> Example:
    """A list of names and the same names again in another order: nothing but copying. The first
    token of a repeated name cannot be known and weighs nothing."""
    pool = NamePool(rng, "train")
    names = [pool.name() for _ in range(rng.choice((6, 9, 12)))]
    again = rng.sample(names, len(names))
    ids = tokenizer.encode(" ".join(names) + "\n", add_special_tokens=False)
    weights = [0.0] * len(ids)
    for name in again:
        new = tokenizer.encode(f"{name} ", add_special_tokens=False)
        ids += new
        weights += [0.0] + [_DRILL_WEIGHT] * (len(new) - 1)
    return ids, weights


def episodes(
    tokenizer: PreTrainedTokenizerBase,
    first_seed: int,
    good: float,
    context_weight: float,
    drills: float,
    easy: float,
) -> Iterator[Example]:
    """Encoded episodes from world after world, each question asked at most once.

    Args:
        easy: share of the questions that are asked, of those that are not of a hard kind.
    """
    rng = random.Random(first_seed)
    for environment, inboxes in worlds(first_seed, 1_000_000):
        pairs = [pair for box in inboxes for pair in zip(box.scenarios, box.facts, strict=True)]
        for scenario, fact in pairs:
            if scenario.kind not in _HARD_KINDS and rng.random() >= easy:
                continue
            if rng.random() < drills:
                yield drill(tokenizer, rng)
            demo = demonstrate(environment, scenario, fact, rng, good)
            yield encode(tokenizer, demo, context_weight)


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
    tokenizer: PreTrainedTokenizerBase,
    *,
    steps: int,
    good: float,
    first_seed: int,
    matrix_rate: float,
    other_rate: float,
    context_weight: float = 0.1,
    drills: float = 0.15,
    easy: float = 1.0,
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
    stream = batches(
        episodes(tokenizer, first_seed, good, context_weight, drills, easy), first_seed
    )
    model.train()
    started, tokens = time.monotonic(), 0
    recent: list[tuple[float, int, int]] = []
    for step in range(steps):
        scale = min((step + 1) / warmup, max(_LAST_RATE, 1 - step / steps))
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate * scale
        ids, weights = _tensors(next(stream), model.config.pad_token_id)
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
