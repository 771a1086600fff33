"""Where the policy's weights live: sampled from over HTTP, trained through ART.

    policy = await open_policy(config, project="art-rl", name="demo", path=folder)
    policy.endpoint            # an OpenAI-compatible server
    await policy.train(groups, learning_rate=1e-5)

What differs between backends stays behind ``PolicyHandle``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from backends.config import BackendConfig
from backends.embedded import checkpoints
from backends.errors import BackendError
from backends.needs import check, gpus

if TYPE_CHECKING:
    from art import TrajectoryGroup

# Read while ART is imported; without it that import fetches a price list over the network.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

__all__ = [
    "BackendConfig",
    "BackendError",
    "Endpoint",
    "PolicyHandle",
    "check",
    "gpus",
    "install_adapter",
    "open_policy",
]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An OpenAI-compatible server."""

    base_url: str
    api_key: str


def _create(config: BackendConfig, path: Path, seed: int) -> Any:
    if config.kind == "embedded":
        from backends.embedded.backend import EmbeddedBackend

        return EmbeddedBackend(config, path, seed)
    if config.kind == "local":
        from backends.local import ExactLocalBackend

        return ExactLocalBackend(path=str(path))
    if config.kind == "tinker":
        from art.tinker.backend import TinkerBackend

        return TinkerBackend(path=str(path))
    from art import ServerlessBackend

    return ServerlessBackend()


class PolicyHandle:
    """A policy that is served and can be trained. Use as an async context manager.

    Args:
        max_tokens: the longest sequence that it can be trained on.
        gpus: how many GPUs of this machine it holds.
    """

    def __init__(
        self,
        backend: Any,
        model: Any,
        endpoint: Endpoint,
        model_dir: Path,
        max_tokens: int,
        gpus: int = 0,
    ) -> None:
        self._backend, self._model = backend, model
        self.gpus = gpus
        self.endpoint = endpoint
        self.model_dir = model_dir
        self.max_tokens = max_tokens

    async def __aenter__(self) -> PolicyHandle:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def step(self) -> int:
        """The newest checkpoint's step; 0 is the untrained policy."""
        return int(await self._model.get_step())

    def inference_name(self, step: int) -> str:
        """What to ask the endpoint for. Asked anew each step: ART's own field keeps the first."""
        return str(self._model.get_inference_name(step))

    async def train(
        self,
        groups: list[TrajectoryGroup],
        *,
        learning_rate: float,
        loss: Literal["cispo", "ppo"] = "cispo",
        scale_rewards: bool = True,
    ) -> dict[str, float]:
        """One training step; the checkpoint that it makes is the newest from then on."""
        result = await self._backend.train(
            self._model,
            groups,
            learning_rate=learning_rate,
            loss_fn=loss,
            normalize_advantages=scale_rewards,
            scale_rewards=scale_rewards,
        )
        return {key: float(value) for key, value in result.metrics.items()}

    async def skip_step(self) -> None:
        """Advance the checkpoint without training, where a step had nothing to train on."""
        if hasattr(self._backend, "skip_step"):
            await self._backend.skip_step(self._model)
        else:
            await self._backend.train(self._model, [])

    async def sampler_stats(self) -> dict[str, float] | None:
        """Totals of the embedded sampler; None for other backends."""
        if not hasattr(self._backend, "service"):
            return None
        from dataclasses import asdict

        return asdict((await self._backend.service(self._model)).engine.stats())

    def checkpoint(self, step: int) -> Path:
        return checkpoints.checkpoint_dir(self.model_dir, step)

    def trainer_metrics(self, step: int) -> dict[str, float]:
        """What the trainer recorded with a checkpoint."""
        return checkpoints.trainer_metrics(self.model_dir, step)

    def prune(self, keep: Iterable[int]) -> None:
        checkpoints.prune(self.model_dir, keep)

    async def close(self) -> None:
        await self._backend.close()


def install_adapter(adapter: Path, path: Path, project: str, name: str) -> Path:
    """Put an exported adapter where ``open_policy`` with the same arguments finds it, as its
    checkpoint of step 1. Returns the model's folder."""
    model_dir = path / project / "models" / name
    shutil.copytree(adapter, checkpoints.checkpoint_dir(model_dir, 1))
    return model_dir


async def open_policy(
    config: BackendConfig, *, project: str, name: str, path: Path, seed: int = 0
) -> PolicyHandle:
    """Load the policy, at its newest checkpoint under ``path``, and serve it.

    Raises:
        BackendError: it cannot run as configured.
    """
    check(config)
    import art
    from art.utils.output_dirs import get_model_dir

    backend = _create(config, path, seed)
    internal: Any = None
    if config.kind == "local":
        internal = {
            "init_args": {"max_seq_length": config.max_sequence_tokens},
            "peft_args": {"r": config.lora.rank, "lora_alpha": config.lora.alpha},
        }
    model: Any = art.TrainableModel(
        name=name, project=project, base_model=config.base_model, _internal_config=internal
    )
    try:
        await model.register(backend)
        base_url, api_key = await backend._prepare_backend_for_training(model)
    except BaseException:
        await backend.close()
        raise
    model_dir = Path(get_model_dir(model=model, art_path=str(path)))
    endpoint = Endpoint(base_url, api_key)
    return PolicyHandle(
        backend, model, endpoint, model_dir, config.max_sequence_tokens, gpus(config)
    )
