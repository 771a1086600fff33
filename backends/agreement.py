"""Measures whether sampler and trainer agree on the policy."""

from __future__ import annotations

import torch


def agreement(sampled: torch.Tensor, recomputed: torch.Tensor) -> dict[str, float]:
    """Compare the log-probabilities of the same tokens by sampler and trainer: ``loss/probs_corr``
    (correlation of the probabilities) and ``loss/logprob_diff`` (mean absolute difference)."""
    return {
        "loss/probs_corr": _correlation(sampled.exp(), recomputed.exp()),
        "loss/logprob_diff": (sampled - recomputed).abs().mean().item(),
    }


def _correlation(one: torch.Tensor, other: torch.Tensor) -> float:
    """Pearson's r; 1 for equal samples, even without variance (every token was certain)."""
    if torch.equal(one, other):
        return 1.0
    return torch.corrcoef(torch.stack([one.double(), other.double()]))[0, 1].item()
