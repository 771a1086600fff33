"""The policy's weights: a frozen base, a trained adapter, and merged copies for sampling.

Sampling uses merged weights, which cost nothing extra per token; training uses the adapter itself.
Both are float32 on a CPU, so the log-probabilities of sampler and trainer differ by rounding only.
"""

from __future__ import annotations

import copy
import logging
from collections import OrderedDict
from pathlib import Path

import torch
from peft import LoraConfig as PeftLoraConfig
from peft import PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging as transformers_logging

from backends import checkpoints
from backends.chat_format import load_chat_format
from backends.config import BackendConfig
from backends.errors import BackendError
from backends.loading import cannot_load, resolve_device

log = logging.getLogger(__name__)

_MAX_SAMPLING_COPIES = 2
# Its progress bars garble ours.
transformers_logging.disable_progress_bar()


class Policy:
    """Base, adapter and sampling copies of one model.

    Raises:
        BackendError: the model cannot be loaded, or the device is missing.
    """

    def __init__(self, config: BackendConfig, model_dir: Path, seed: int = 0) -> None:
        self.config, self.model_dir = config, model_dir
        self.device = resolve_device(config)
        self.dtype = self._dtype()
        self.chat = load_chat_format(config)
        self.tokenizer = self.chat.tokenizer
        try:
            base = AutoModelForCausalLM.from_pretrained(
                config.base_model, dtype=self.dtype, trust_remote_code=False, use_safetensors=True
            )
        except (OSError, ValueError, SafetensorError) as error:
            raise BackendError(cannot_load(config.base_model, error)) from error
        self.vocabulary = max(self.tokenizer.get_vocab().values()) + 1
        rows = base.get_input_embeddings().num_embeddings
        if self.vocabulary > rows:
            raise BackendError(
                f"{config.base_model} has embeddings for {rows} tokens, but its tokenizer has "
                f"{self.vocabulary}: they are of different models"
            )
        if getattr(base.config.get_text_config(), "attn_logit_softcapping", None):
            base.set_attn_implementation("eager")  # PyTorch's fused attention ignores the cap
        base = base.to(self.device).eval()
        base.requires_grad_(False)
        self._base: PreTrainedModel = copy.deepcopy(base)
        self._sampling: OrderedDict[int, PreTrainedModel] = OrderedDict()
        self.steps = checkpoints.steps(model_dir)
        self.step = self.steps[-1] if self.steps else 0
        torch.manual_seed(seed)
        self.trained: PeftModel = (
            self._with_adapter(base, self.step, trainable=True)
            if self.steps
            else get_peft_model(base, self._lora_config())
        )

    @property
    def end_ids(self) -> list[int]:
        """End-of-turn tokens from the model's generation config, its tokenizer and its template."""
        configured = self._base.generation_config.eos_token_id
        ids = configured if isinstance(configured, list) else [configured]
        return sorted({i for i in (*ids, *self.chat.end_ids) if i is not None})

    @property
    def max_tokens(self) -> int:
        """The longest conversation: the lower of the configured limit and the model's own."""
        return min(self.config.max_sequence_tokens, self._base.config.max_position_embeddings)

    def sampling_model(self, step: int) -> PreTrainedModel:
        """The merged weights of a checkpoint.

        Raises:
            KeyError: there is no checkpoint of this step.
        """
        if step not in self._sampling:
            if step != self.step and step not in checkpoints.steps(self.model_dir):
                raise KeyError(step)
            while len(self._sampling) >= _MAX_SAMPLING_COPIES:
                self._sampling.popitem(last=False)
            model = copy.deepcopy(self._base)
            if step == self.step:
                _merge(self.trained, model)
            else:
                other = copy.deepcopy(self._base)
                _merge(self._with_adapter(other, step, trainable=False), model)
            self._sampling[step] = model
        self._sampling.move_to_end(step)
        return self._sampling[step]

    def advance(self, step: int) -> None:
        """Make the trained adapter the policy of ``step``."""
        model = self._sampling.pop(self.step, None)
        self.step = step
        if model is not None:
            _merge(self.trained, model)
            self._sampling[step] = model

    def _dtype(self) -> torch.dtype:
        if self.config.dtype != "auto":
            return torch.float32 if self.config.dtype == "float32" else torch.bfloat16
        return torch.float32 if self.device.type == "cpu" else torch.bfloat16

    def _lora_config(self) -> PeftLoraConfig:
        return PeftLoraConfig(
            r=self.config.lora.rank,
            lora_alpha=self.config.lora.alpha,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )

    def _with_adapter(self, base: PreTrainedModel, step: int, trainable: bool) -> PeftModel:
        folder = checkpoints.checkpoint_dir(self.model_dir, step)
        try:
            model = PeftModel.from_pretrained(base, str(folder), is_trainable=trainable)
            stored = set(load_file(folder / "adapter_model.safetensors"))
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise BackendError(
                f"the adapter in {folder} does not fit {self.config.base_model}: {error}"
            ) from error
        # PEFT ignores unknown tensors and leaves missing ones at their initial values.
        expected = {n.replace(".default", "") for n in model.state_dict() if "lora_" in n}
        if stored != expected:
            raise BackendError(
                f"the adapter in {folder} does not match {self.config.base_model}: their layers "
                f"differ, for example {min(stored ^ expected)}"
            )
        return model


@torch.no_grad()
def _merge(adapter: PeftModel, into: PreTrainedModel) -> None:
    """Write base plus adapter into the matching weights of ``into``."""
    targets = dict(into.named_modules())
    for name, module in adapter.get_base_model().named_modules():
        if isinstance(module, LoraLayer):
            base = module.get_base_layer().weight
            targets[name].weight.copy_(base + module.get_delta_weight("default"))
