"""Packs trajectories from the sampled tokens, never from their text.

Rendering and tokenising a conversation again yields other tokens than the policy produced: ART
0.5.18 repeats earlier tool calls in later turns, and a tokenizer may split a text differently than
it was sampled. Training on those ids means training on a conversation that never happened. Here,
each turn has the prompt and completion ids reported by the server. A turn whose prompt continues
the current row is appended to it; any other starts a new row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from openai.types.chat.chat_completion import Choice

if TYPE_CHECKING:
    from art.preprocessing.pack import PackedTensors
    from art.trajectories import Trajectory, TrajectoryGroup
    from transformers import PreTrainedTokenizerBase


class NoTokens(ValueError):
    """The server did not report a turn's token ids or log-probabilities."""


@dataclass(slots=True)
class Row:
    """One training sequence. ``written`` is 1 for tokens of the policy, ``logprobs`` NaN for
    others."""

    ids: list[int] = field(default_factory=list)
    written: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)


def sampled_tokens(choice: Choice) -> tuple[list[int], list[int], list[float]]:
    """Prompt ids, completion ids and log-probabilities of one turn.

    Raises:
        NoTokens: the reply lacks one of them, or their lengths differ.
    """
    extra = choice.model_extra or {}
    prompt_ids, token_ids = extra.get("prompt_token_ids"), extra.get("token_ids")
    content = choice.logprobs.content if choice.logprobs else None
    if not prompt_ids or not token_ids or not content:
        raise NoTokens(
            "a sampled turn lacks prompt_token_ids, token_ids or logprobs: the model server must "
            "support return_token_ids and logprobs"
        )
    if len(content) != len(token_ids):
        raise NoTokens(f"{len(token_ids)} token ids but {len(content)} logprobs in one turn")
    return list(prompt_ids), list(token_ids), [entry.logprob for entry in content]


def rows_of(choices: Sequence[Choice]) -> list[Row]:
    """The training rows of a conversation's turns, in order."""
    rows: list[Row] = []
    for choice in choices:
        prompt_ids, token_ids, logprobs = sampled_tokens(choice)
        row = rows[-1] if rows and prompt_ids[: len(rows[-1].ids)] == rows[-1].ids else None
        if row is None:
            row = Row()
            rows.append(row)
        context = prompt_ids[len(row.ids) :]
        row.ids += context + token_ids
        row.written += [0] * len(context) + [1] * len(token_ids)
        row.logprobs += [math.nan] * len(context) + logprobs
    return rows


def advantages(rewards: Sequence[float], scale: bool = True) -> list[float]:
    """Group-relative advantages: reward minus the group's mean, over its standard deviation.

    GRPO (Shao et al., 2024, equation 3.2 and section 4.1); ``scale=False`` omits the division
    (Dr. GRPO, Liu et al., 2025).
    """
    if min(rewards) == max(rewards):
        # Rounding of the mean would look like an advantage.
        return [0.0] * len(rewards)
    mean = sum(rewards) / len(rewards)
    centred = [reward - mean for reward in rewards]
    if not scale:
        return centred
    deviation = math.sqrt(sum(c * c for c in centred) / len(centred))
    return [c / (deviation + 1e-6) for c in centred]


def training_rows(trajectory: Trajectory) -> list[Row]:
    """The rows of all histories of a trajectory, in order.

    Raises:
        NoTokens: a turn lacks its tokens.
    """
    rows: list[Row] = []
    for history in (trajectory, *trajectory.additional_histories):
        rows += rows_of([m for m in history.messages_and_choices if isinstance(m, Choice)])
    return rows


def pack_groups(
    groups: Sequence[TrajectoryGroup],
    tokenizer: PreTrainedTokenizerBase,
    *,
    scale_rewards: bool = True,
    advantage_balance: float = 0.0,
    max_tokens: int | None = None,
    round_to: int = 1,
) -> PackedTensors | None:
    """Convert groups to ART's packed tensors, one sequence per row; None if every advantage is zero.

    All trajectories have equal weight, however many tokens they have, as in ART.

    Args:
        max_tokens: the longest row allowed; the training loop drops and counts trajectories with
            longer ones beforehand.
        round_to: the tensors' width is a multiple of this.

    Raises:
        NoTokens: a turn lacks its tokens.
        ValueError: a row is longer than ``max_tokens``.
    """
    from art.preprocessing.pack import packed_tensors_from_tokenized_results
    from art.preprocessing.tokenize import TokenizedResult

    from backends.trajectory import ExactTrajectory

    results: list[TokenizedResult] = []
    for group in groups:
        if not group.trajectories:
            continue
        values = advantages([t.reward for t in group.trajectories], scale_rewards)
        for trajectory, advantage in zip(group.trajectories, values, strict=True):
            if advantage == 0:
                continue
            matched = trajectory.rows if isinstance(trajectory, ExactTrajectory) else []
            rows = matched or training_rows(trajectory)
            weight = 1 / (sum(sum(row.written) for row in rows) + 1e-6)
            for row in rows:
                if max_tokens is not None and len(row.ids) > max_tokens:
                    raise ValueError(f"a row of {len(row.ids)} tokens where {max_tokens} fit")
                results.append(
                    TokenizedResult(
                        advantage=advantage,
                        chat="",
                        token_ids=row.ids,
                        input_pos=list(range(len(row.ids))),
                        assistant_mask=row.written,
                        logprobs=row.logprobs,
                        pixel_values=None,
                        image_grid_thw=None,
                        trajectory=trajectory,
                        choice_offsets=[],
                        extra_logprobs={},
                        _tokenizer=tokenizer,
                        weight=weight,
                        prompt_id=len(results),
                    )
                )
    if not results:
        return None
    longest = max(len(result.token_ids) for result in results)
    return packed_tensors_from_tokenized_results(
        results,
        math.ceil(longest / round_to) * round_to,
        pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id,
        truncate_long_results=False,
        advantage_balance=advantage_balance,
        pack_results=False,
    )
