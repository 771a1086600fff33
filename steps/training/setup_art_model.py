"""Check the base model before anything expensive starts."""

from __future__ import annotations

from typing import Annotated, Any

from zenml import log_metadata, step

from backends.chat_format import load_chat_format
from backends.config import BackendConfig
from training.run.store import base_fingerprint


@step(enable_cache=False)
def setup_art_model(backend: BackendConfig) -> Annotated[dict[str, Any], "policy_spec"]:
    """Facts about the base model.

    Raises:
        BackendError: there is no such model, or agents cannot use it.
    """
    chat = load_chat_format(backend)
    spec = {
        "base_model": backend.base_model,
        "base_fingerprint": base_fingerprint(backend.base_model),
        "vocabulary": len(chat.tokenizer),
        "backend": backend.kind,
        "chat_format": chat.describe(),
        "lora_rank": backend.lora.rank,
    }
    log_metadata(spec, infer_model=True)
    return spec
