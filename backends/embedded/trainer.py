"""Takes one optimizer step on packed trajectories, with ART's loss (CISPO or PPO).

Rows of similar length share a backward pass, truncated to the longest. The loss is summed over
tokens and divided by the step's total number of trained tokens, so the split into passes does not
affect the gradient.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from backends.agreement import agreement
from backends.embedded.head import Head
from backends.embedded.policy import Policy

if TYPE_CHECKING:
    from art.dev import TrainConfig as DevTrainConfig
    from art.preprocessing.pack import PackedTensors
    from art.types import TrainConfig

_WIDTH_BUCKET = 32
_LOGIT_ROWS = 4096


class Trainer:
    """The optimizer of one policy's adapter."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.parameters = [p for p in policy.trained.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=0.0, betas=(0.9, 0.99), weight_decay=0.0
        )

    def state(self) -> dict[str, Any]:
        return {"optimizer": self.optimizer.state_dict(), "rng": torch.get_rng_state()}

    def restore(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])

    def train(
        self, packed: PackedTensors, config: TrainConfig, dev_config: DevTrainConfig
    ) -> dict[str, float]:
        """Train on all rows of ``packed`` with one optimizer step.

        Returns:
            Metrics under ART's names: ``loss/train``, ``loss/grad_norm``, ``loss/entropy`` (nats
            per token), those of ``agreement``, and ``time/trainer_compute_s``.

        Raises:
            FloatingPointError: the loss or the gradient is not finite; no weight was changed.
        """
        from art.loss import loss_fn, shift_tensor

        started = time.perf_counter()
        model = self._policy.trained
        model.train()
        self.optimizer.zero_grad(set_to_none=True)
        trained_tokens = int(packed["assistant_mask"][:, 1:].sum())
        total_loss = total_entropy = 0.0
        sampled: list[torch.Tensor] = []
        recomputed: list[torch.Tensor] = []
        padded = 0
        for inputs in self._passes(packed):
            padded += inputs["tokens"].numel()
            mask = shift_tensor(inputs["assistant_mask"], False)
            new_logprobs, entropy = self._logprobs(inputs["tokens"], mask)
            loss = loss_fn(inputs, new_logprobs, None, None, dev_config, reduction="sum")
            scaled = loss.policy_loss_sum / trained_tokens
            scaled.backward()
            total_loss += scaled.item()
            total_entropy += entropy.item()
            sampled.append(shift_tensor(inputs["logprobs"], 0.0)[mask])
            recomputed.append(new_logprobs.detach()[mask])
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        if not (torch.isfinite(norm) and torch.isfinite(torch.tensor(total_loss))):
            self.optimizer.zero_grad(set_to_none=True)
            raise FloatingPointError(
                f"loss {total_loss} with gradient norm {norm.item()}: the step was not applied"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate
        self.optimizer.step()
        return {
            "loss/train": total_loss,
            "loss/grad_norm": norm.item(),
            "loss/entropy": total_entropy / trained_tokens,
            **agreement(torch.cat(sampled), torch.cat(recomputed)),
            "time/trainer_compute_s": time.perf_counter() - started,
            "data/trained_tokens": float(trained_tokens),
            "data/padded_tokens": float(padded),
        }

    def _passes(self, packed: PackedTensors) -> Iterator[dict[str, torch.Tensor]]:
        """Rows by ascending length, in passes of at most ``micro_batch_tokens`` tokens."""
        tensors = {k: v for k, v in packed.items() if isinstance(v, torch.Tensor)}
        lengths = (tensors["parent_ids"] != -1).sum(dim=1)
        order = lengths.argsort().tolist()
        budget = self._policy.config.micro_batch_tokens
        start = 0
        while start < len(order):
            end, width = start, 0
            while end < len(order):
                longer = -(-int(lengths[order[end]]) // _WIDTH_BUCKET) * _WIDTH_BUCKET
                if end > start and (end + 1 - start) * longer > budget:
                    break
                width, end = longer, end + 1
            rows = torch.tensor(order[start:end])
            width = min(width, tensors["tokens"].shape[1])
            yield {k: v[rows, :width].to(self._policy.device) for k, v in tensors.items()}
            start = end

    def _logprobs(
        self, tokens_B_T: torch.Tensor, mask_B_T: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The next tokens' log-probabilities where ``mask_B_T`` is set and zero elsewhere,
        ``(B, T)``, and the summed entropy of these distributions."""
        base = self._policy.trained.get_base_model()
        hidden = base.get_decoder()(input_ids=tokens_B_T, use_cache=False).last_hidden_state
        chosen = hidden[mask_B_T]
        targets = torch.nn.functional.pad(tokens_B_T[:, 1:], (0, 1))[mask_B_T]
        head = Head(base, self._policy.vocabulary)
        picked, entropy = [], torch.zeros((), device=tokens_B_T.device)
        # In slices: with a large vocabulary, the logits are the largest tensor.
        for start in range(0, len(targets), _LOGIT_ROWS):
            rows = slice(start, start + _LOGIT_ROWS)
            logprobs = torch.log_softmax(head(chosen[rows]).float(), dim=-1)
            picked.append(logprobs.gather(1, targets[rows, None])[:, 0])
            with torch.no_grad():
                entropy -= (logprobs.exp() * logprobs).sum()
        result = torch.zeros(tokens_B_T.shape, device=tokens_B_T.device)
        return result.masked_scatter(mask_B_T, torch.cat(picked)), entropy
