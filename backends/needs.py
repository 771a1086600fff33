"""Checks a backend's system requirements before any work starts."""

from __future__ import annotations

import importlib.util
import os
import shutil
from typing import Literal

from backends.config import BackendConfig
from backends.errors import BackendError

# The command that ART's LocalBackend runs instead of installing vLLM with uv.
VLLM_COMMAND = "ART_VLLM_RUNTIME_BIN"
KEYS: dict[str, tuple[str, ...]] = {
    "embedded": (),
    "local": (),
    "serverless": ("WANDB_API_KEY",),
    "tinker": ("TINKER_API_KEY",),
}
_PACKAGES = {"local": ("unsloth", "trl"), "tinker": ("tinker",)}
_LOCKS = {
    "local": "requirements-gpu.txt in an environment of its own",
    "tinker": "requirements-tinker.txt",
}


def check(config: BackendConfig) -> None:
    """
    Raises:
        BackendError: a GPU, package or key that the backend needs is missing.
    """
    if config.kind == "embedded":
        from backends.loading import resolve_device

        resolve_device(config)
    if config.kind == "local":
        import torch

        if not torch.cuda.is_available():
            raise BackendError(
                "backend: local trains with Unsloth and vLLM and needs a CUDA GPU; none is "
                "visible. Run it on a GPU machine, or use backend.kind: embedded"
            )
    _check_keys(config.kind)
    _check_packages(config.kind)
    if config.kind == "local" and VLLM_COMMAND not in os.environ and shutil.which("uv") is None:
        raise BackendError(
            "backend: local needs uv on the PATH for ART to install vLLM: activate the environment "
            f"of requirements-gpu.txt, or set {VLLM_COMMAND} to ART's vLLM server"
        )


def check_serves_adapters(config: BackendConfig) -> None:
    """
    Raises:
        BackendError: this backend only serves what it trained itself.
    """
    if config.kind in ("serverless", "tinker"):
        raise BackendError(
            f"backend: {config.kind} cannot serve an adapter from a file, as evaluation and "
            "deployment require: use backend.kind: local or embedded"
        )


def _check_keys(kind: str) -> None:
    for key in KEYS[kind]:
        if not os.environ.get(key):
            raise BackendError(f"backend: {kind} needs the environment variable {key}")


def _check_packages(kind: str) -> None:
    missing = [name for name in _PACKAGES.get(kind, ()) if importlib.util.find_spec(name) is None]
    if missing:
        raise BackendError(
            f"backend: {kind} needs {' and '.join(missing)}: pip install -r {_LOCKS[kind]}"
        )


def gpus(config: BackendConfig) -> int:
    """The number of local GPUs that the backend occupies."""
    on_cpu = config.kind == "embedded" and config.device == "cpu"
    if config.kind in ("serverless", "tinker") or on_cpu:
        return 0
    import torch

    if not torch.cuda.is_available():
        return 0
    return 1 if config.kind == "embedded" else torch.cuda.device_count()


def device(config: BackendConfig) -> Literal["remote", "cuda", "cpu"]:
    """Where the backend's weights live."""
    if config.kind in ("serverless", "tinker"):
        return "remote"
    return "cuda" if gpus(config) else "cpu"
