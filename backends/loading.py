"""Load a base model's tokenizer and choose its device; for every backend."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoTokenizer
from transformers import PreTrainedTokenizerBase as Tokenizer

from backends.config import BackendConfig
from backends.errors import BackendError


def resolve_device(config: BackendConfig) -> torch.device:
    """
    Raises:
        BackendError: a GPU was asked for and there is none.
    """
    if config.device == "cuda" and not torch.cuda.is_available():
        raise BackendError(
            "device: cuda was asked for, but no CUDA GPU is visible; use device: cpu or auto"
        )
    if config.device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda")


def is_folder(base_model: str) -> bool:
    """Whether a model is named as a folder, and not as the hub names it."""
    return base_model.startswith(("/", ".", "~"))


def load_tokenizer(base_model: str) -> Tokenizer:
    """
    Raises:
        BackendError: there is no such model, or it has no chat template.
    """
    if is_folder(base_model) and not Path(base_model).is_dir():
        raise BackendError(f"cannot load the model {base_model}: there is no such folder")
    try:
        # False, as it would ask at a terminal else, and run what is beside the weights on a yes.
        tokenizer = AutoTokenizer.from_pretrained(base_model, trust_remote_code=False)
    except Exception as error:  # tokenizers has no other, and who names the folder chose its files
        raise BackendError(cannot_load(base_model, error)) from error
    if tokenizer.chat_template is None:
        raise BackendError(f"{base_model} has no chat template: take an instruct model")
    return tokenizer


def cannot_load(base_model: str, error: Exception) -> str:
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return (
        f"cannot load the model {base_model}: {first_line} "
        "Name a folder with a model, or a hub model this machine can reach."
    )
