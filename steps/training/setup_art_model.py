"""Check the base model before anything expensive starts."""

from __future__ import annotations

from typing import Annotated, Any

from zenml import log_metadata, step

from backends.config import BackendConfig
from backends.loading import load_tokenizer
from training.run.store import base_fingerprint


@step(enable_cache=False)
def setup_art_model(backend: BackendConfig) -> Annotated[dict[str, Any], "policy_spec"]:
    """Facts about the base model.

    Raises:
        BackendError: there is no such model, or it has no chat template.
    """
    tokenizer = load_tokenizer(backend.base_model)
    spec = {
        "base_model": backend.base_model,
        "base_fingerprint": base_fingerprint(backend.base_model),
        "vocabulary": len(tokenizer),
        "backend": backend.kind,
        "lora_rank": backend.lora.rank,
    }
    log_metadata(spec, infer_model=True)
    return spec
