"""ART's LocalBackend (Unsloth and vLLM on GPUs) with exact packing.

Written against openpipe-art 0.5.18. Needs a GPU; only the parts that run without one are tested (see
the README). vLLM runs in a separate process, from an environment that ART creates with uv on first
use (under ~/.cache/art), or from the command in ART_VLLM_RUNTIME_BIN.
"""

from __future__ import annotations

import os
from typing import Any

from art import TrainableModel, TrajectoryGroup
from art.backend import AnyTrainableModel
from art.local.backend import LocalBackend
from art.local.service import ModelService
from art.preprocessing.pack import PackedTensors
from art.utils.output_dirs import get_model_dir

from backends.art_compat import internal_config
from backends.chat_format import load_chat_format
from backends.config import BackendConfig
from backends.loading import load_tokenizer
from backends.packing import pack_groups

_ROUND_TO = 2048
_DEFAULT_LENGTH = 32_768
_LINEAR_LAYERS = [f"{name}_proj" for name in ("q", "k", "v", "o", "gate", "up", "down")]


def model_settings(config: BackendConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """ART's settings of a model, and those of the vLLM server that samples it.

    Raises:
        BackendError: agents cannot use this model.
    """
    chat = load_chat_format(config)
    internal: dict[str, Any] = {
        "init_args": {"max_seq_length": config.max_sequence_tokens},
        "peft_args": {"r": config.lora.rank, "lora_alpha": config.lora.alpha},
    }
    if not (chat.shows_tools and chat.takes_system):
        internal["chat_template"] = chat.template
    return internal, {"server_args": {"tool_call_parser": chat.dialect}}


def service_config(base_model: str, folder: str, internal: dict[str, Any]) -> dict[str, Any]:
    """Replaces ART's ``get_model_config``, whose module imports megatron, which
    ``openpipe-art[backend]`` does not install."""
    from art.local.checkpoints import get_last_checkpoint_dir

    length = internal.get("init_args", {}).get("max_seq_length", _DEFAULT_LENGTH)
    newest = get_last_checkpoint_dir(folder)
    peft = {
        "lora_alpha": 16,
        "r": 8,
        "random_state": 3407,
        "target_modules": _LINEAR_LAYERS,
        "use_gradient_checkpointing": "unsloth",
    } | internal.get("peft_args", {})
    return {
        "init_args": {
            "load_in_4bit": True,
            "max_seq_length": length,
            "model_name": newest or base_model,
        },
        "engine_args": {
            "enable_sleep_mode": True,
            "generation_config": "vllm",
            "lora_target_modules": peft["target_modules"],
            "max_model_len": length,
            "model": base_model,
        },
        "peft_args": peft,
        "rollout_weights_mode": "lora",
        "tinker_args": None,
        "trainer_args": {
            "adam_beta1": 0.9,
            "adam_beta2": 0.99,
            "disable_tqdm": True,
            "gradient_accumulation_steps": 1,
            "gradient_checkpointing": True,
            "learning_rate": 5e-6,
            "logging_steps": 1,
            "lr_scheduler_type": "constant",
            "max_grad_norm": 0.1,
            "num_generations": 2,
            "optim": "paged_adamw_8bit",
            "output_dir": folder,
            "per_device_train_batch_size": 2,
            "report_to": "none",
            "save_strategy": "no",
            "weight_decay": 0.1,
        },
    }


class ExactLocalBackend(LocalBackend):
    async def _get_service(self, model: TrainableModel) -> ModelService:
        if model.name not in self._services:
            from art.unsloth.service import UnslothService
            from mp_actors import move_to_child_process

            folder = get_model_dir(model=model, art_path=self._path)
            config: Any = service_config(model.base_model, folder, internal_config(model))
            # Read by the child: Unsloth must be imported before the libraries it patches.
            os.environ["IMPORT_UNSLOTH"] = "1"
            self._services[model.name] = move_to_child_process(
                UnslothService(model.name, model.base_model, config, folder),
                process_name="model-service",
            )
        return self._services[model.name]

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
        limit = int(
            internal_config(model).get("init_args", {}).get("max_seq_length", _DEFAULT_LENGTH)
        )
        # Unsloth's trainer computes log-probabilities in fixed-size chunks.
        return pack_groups(
            trajectory_groups,
            self._tokenizers[key],
            scale_rewards=scale_rewards,
            advantage_balance=advantage_balance,
            max_tokens=packed_sequence_length or limit,
            round_to=packed_sequence_length or _ROUND_TO,
        )
