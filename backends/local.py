"""ART's LocalBackend (Unsloth and vLLM on GPUs) with exact packing.

Written against openpipe-art 0.5.18. Needs a GPU; what of it runs without one is tested, the rest
is not (see the README).
"""

from __future__ import annotations

from typing import Any

from art import TrajectoryGroup
from art.backend import AnyTrainableModel
from art.local.backend import LocalBackend
from art.preprocessing.pack import PackedTensors

from backends.embedded.policy import load_tokenizer
from backends.packing import pack_groups

_ROUND_TO = 2048
_DEFAULT_LENGTH = 32_768


class ExactLocalBackend(LocalBackend):
    def _get_packed_tensors(
        self,
        model: AnyTrainableModel,
        trajectory_groups: list[TrajectoryGroup],
        advantage_balance: float,
        allow_training_without_logprobs: bool,
        scale_rewards: bool,
        plot_tensors: bool,
        packed_sequence_length: int | None,
        logprob_calculation_chunk_size: int,
    ) -> PackedTensors | None:
        key = (model.base_model, None)
        if key not in self._tokenizers:
            self._tokenizers[key] = load_tokenizer(model.base_model)
        internal: dict[str, Any] = dict(model._internal_config or {})
        limit = int(internal.get("init_args", {}).get("max_seq_length", _DEFAULT_LENGTH))
        # Unsloth's trainer takes the log-probabilities in whole chunks.
        return pack_groups(
            trajectory_groups,
            self._tokenizers[key],
            scale_rewards=scale_rewards,
            advantage_balance=advantage_balance,
            max_tokens=packed_sequence_length or limit,
            round_to=packed_sequence_length or _ROUND_TO,
        )
