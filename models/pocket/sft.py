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
from environment.email_search.tools import tool_schemas
from models.pocket.demos import Demonstration, demonstrate, worlds

log = logging.getLogger(__name__)

_POOL = 2048
_BATCH_TOKENS = 6144
_LOG_EVERY = 50
_AFTER_TURN = (
    "\n<|im_start|>user\n<tool_response>\n{}\n</tool_response><|im_end|>\n<|im_start|>assistant\n"
)

_SCHEMAS = tool_schemas()

Example = tuple[list[int], list[bool]]


def encode(tokenizer: PreTrainedTokenizerBase, demo: Demonstration) -> Example:
    """Token ids of an episode and, for each, whether the agent wrote it."""
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
    written: list[bool] = []

    def add(text: str, by_agent: bool) -> None:
        new = tokenizer.encode(text, add_special_tokens=False)
        ids.extend(new)
        written.extend([by_agent] * len(new))

    add(prompt, False)
    for index, turn in enumerate(demo.turns):
        if index % 2 == 0:
            add(turn + "<|im_end|>", True)
        else:
            add(_AFTER_TURN.format(turn), False)
    return ids, written


def episodes(tokenizer: PreTrainedTokenizerBase, first_seed: int, good: float) -> Iterator[Example]:
    """Encoded episodes from world after world, each question asked once."""
    rng = random.Random(first_seed)
    for environment, inboxes in worlds(first_seed, 1_000_000):
        pairs = [pair for box in inboxes for pair in zip(box.scenarios, box.facts, strict=True)]
        for scenario, fact in pairs:
            yield encode(tokenizer, demonstrate(environment, scenario, fact, rng, good))


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
    width = max(len(ids) for ids, _ in batch)
    ids_B_T = torch.full((len(batch), width), pad)
    written_B_T = torch.zeros((len(batch), width), dtype=torch.bool)
    for row, (ids, written) in enumerate(batch):
        ids_B_T[row, : len(ids)] = torch.tensor(ids)
        written_B_T[row, : len(ids)] = torch.tensor(written)
    return ids_B_T, written_B_T


def train(
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    *,
    steps: int,
    good: float,
    first_seed: int,
    matrix_rate: float,
    other_rate: float,
    warmup: int = 30,
) -> None:
    """Train in place on ``steps`` batches: Muon on the matrices (Jordan et al., 2024), AdamW on the
    rest; constant rates, then a linear decay over the last 40 %."""
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
    stream = batches(episodes(tokenizer, first_seed, good), first_seed)
    model.train()
    started, tokens = time.monotonic(), 0
    recent: list[tuple[float, float]] = []
    for step in range(steps):
        scale = min(1.0, (step + 1) / warmup, max(0.05, (1 - step / steps) / 0.4))
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate * scale
        ids, written = _tensors(next(stream), model.config.pad_token_id)
        loss, accuracy = _loss(model, ids, written)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        tokens += ids.numel()
        recent.append((loss.item(), accuracy))
        if len(recent) == _LOG_EVERY:
            seconds = time.monotonic() - started
            mean_loss, mean_accuracy = (
                sum(column) / len(recent) for column in zip(*recent, strict=True)
            )
            log.info(
                "step %d: loss %.4f, accuracy %.4f, %.0f s, %.0f tokens/s",
                step + 1,
                mean_loss,
                mean_accuracy,
                seconds,
                tokens / seconds,
            )
            recent.clear()


def _loss(
    model: Qwen2ForCausalLM, ids_B_T: torch.Tensor, written_B_T: torch.Tensor
) -> tuple[torch.Tensor, float]:
    """Mean cross-entropy of the agent's tokens, and the share of them predicted right."""
    chosen = written_B_T[:, 1:]
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.model(input_ids=ids_B_T).last_hidden_state[:, :-1]
        logits = model.lm_head(hidden[chosen]).float()
    target = ids_B_T[:, 1:][chosen]
    return functional.cross_entropy(logits, target), (
        logits.argmax(-1) == target
    ).float().mean().item()
