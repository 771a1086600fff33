"""The output layer, from hidden states to logits, the same in sampling and training."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel


class Head:
    """
    Args:
        vocabulary: the number of tokens that the tokenizer knows. Models often have more, so that their
            matrices divide well; these have no text, and are no choices.
    """

    def __init__(self, model: PreTrainedModel, vocabulary: int | None = None) -> None:
        self._layer = model.get_output_embeddings()
        self._vocabulary = vocabulary
        # Gemma 2, section 2.
        self._softcap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)

    @property
    def weight(self) -> torch.Tensor:
        weight: torch.Tensor = self._layer.weight
        return weight

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits, ``(..., V)``."""
        logits: torch.Tensor = self._layer(hidden)[..., : self._vocabulary]
        if self._softcap:
            logits = self._softcap * torch.tanh(logits / self._softcap)
        return logits
