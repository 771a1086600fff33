"""Tokenizer and device selection, shared by all backends."""

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
        BackendError: a GPU is requested but none is visible.
    """
    if config.device == "cuda" and not torch.cuda.is_available():
        raise BackendError("device is cuda, but no CUDA GPU is visible; use device: cpu or auto")
    if config.device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda")


def is_folder(base_model: str) -> bool:
    """Whether a model name is a local path rather than a Hub name."""
    return base_model.startswith(("/", ".", "~"))


def load_tokenizer(base_model: str) -> Tokenizer:
    """
    Raises:
        BackendError: the model does not exist.
    """
    if is_folder(base_model) and not Path(base_model).is_dir():
        raise BackendError(f"cannot load the model {base_model}: there is no such folder")
    try:
        # Explicitly False: by default it asks on a terminal whether to run the model's code.
        return AutoTokenizer.from_pretrained(base_model, trust_remote_code=False)
    except Exception as error:  # tokenizers raises bare Exception on malformed files
        raise BackendError(cannot_load(base_model, error)) from error


def cannot_load(base_model: str, error: Exception) -> str:
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return (
        f"cannot load the model {base_model}: {first_line} "
        "Use a local model folder, or a Hub model that this machine can reach."
    )
