"""Backends hold the policy's weights: sampled over HTTP, trained through ART.

    policy = await open_policy(config, project="art-rl", name="demo", path=folder)
    policy.endpoint            # an OpenAI-compatible server
    await policy.train(groups, learning_rate=1e-5)

``PolicyHandle`` hides the differences between backends.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from backends import art_compat, checkpoints
from backends.config import BackendConfig
from backends.errors import BackendError
from backends.handle import Endpoint, PolicyHandle
from backends.needs import check, check_serves_adapters, device, gpus

__all__ = [
    "BackendConfig",
    "BackendError",
    "Endpoint",
    "PolicyHandle",
    "art_compat",
    "check",
    "check_serves_adapters",
    "device",
    "gpus",
    "install_adapter",
    "open_policy",
]


def _create(config: BackendConfig, path: Path, seed: int) -> tuple[Any, type[PolicyHandle]]:
    if config.kind == "embedded":
        from backends.embedded.backend import EmbeddedBackend, EmbeddedPolicy

        return EmbeddedBackend(config, path, seed), EmbeddedPolicy
    if config.kind == "local":
        from backends.local import ExactLocalBackend

        return ExactLocalBackend(path=str(path)), PolicyHandle
    if config.kind == "tinker":
        from backends.tinker.backend import TinkerBackend, TinkerPolicy

        return TinkerBackend(config, path, seed), TinkerPolicy
    from art import ServerlessBackend

    from backends.serverless import ServerlessPolicy

    return ServerlessBackend(), ServerlessPolicy


def install_adapter(adapter: Path, path: Path, project: str, name: str) -> Path:
    """Install an exported adapter as the step-1 checkpoint for ``open_policy`` with the same
    arguments. Returns the model's folder."""
    model_dir = path / project / "models" / name
    shutil.copytree(adapter, checkpoints.checkpoint_dir(model_dir, 1))
    return model_dir


async def open_policy(
    config: BackendConfig, *, project: str, name: str, path: Path, seed: int = 0
) -> PolicyHandle:
    """Load the policy's newest checkpoint under ``path`` and serve it.

    Raises:
        BackendError: the backend cannot run as configured.
    """
    check(config)
    from art.utils.output_dirs import get_model_dir

    from backends.model import Model

    backend, handle = _create(config, path, seed)
    internal: Any = None
    server: Any = None
    if config.kind == "local":
        from backends.local import model_settings

        internal, server = model_settings(config)
    model: Any = Model(
        name=name, project=project, base_model=config.base_model, _internal_config=internal
    )
    try:
        await model.register(backend, server)  # also starts the policy server
    except BaseException:
        await backend.close()
        raise
    return handle(
        backend,
        model,
        Endpoint(model.inference_base_url, model.inference_api_key),
        Path(get_model_dir(model=model, art_path=str(path))),
        config.max_sequence_tokens,
        gpus(config),
    )
