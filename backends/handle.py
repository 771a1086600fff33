"""The backend-independent handle of a policy being served and trained."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from backends import checkpoints

if TYPE_CHECKING:
    from art import TrajectoryGroup


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An OpenAI-compatible server."""

    base_url: str
    api_key: str


class PolicyHandle:
    """A policy with local checkpoints. Use as an async context manager.

    Args:
        max_tokens: the longest sequence it can train on.
        gpus: the number of local GPUs it occupies.

    Attributes:
        exact_tokens: whether it trains on exactly the sampled tokens.
    """

    exact_tokens = True

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
        self.endpoint = endpoint
        self.model_dir = model_dir
        self.max_tokens = max_tokens
        self.gpus = gpus

    async def __aenter__(self) -> PolicyHandle:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def step(self) -> int:
        """The newest checkpoint's step; 0 is the untrained policy."""
        return int(await self._model.get_step())

    def inference_name(self, step: int) -> str:
        """The model name to request. Ask again each step: ART's own field keeps the first."""
        return str(self._model.get_inference_name(step))

    async def train(
        self,
        groups: list[TrajectoryGroup],
        *,
        learning_rate: float,
        loss: Literal["cispo", "ppo"] = "cispo",
        scale_rewards: bool = True,
    ) -> dict[str, float]:
        """Train one step and write a new checkpoint."""
        result = await self._backend.train(
            self._model,
            groups,
            learning_rate=learning_rate,
            scale_rewards=scale_rewards,
            **self._options(loss, scale_rewards),
        )
        self._trained(result.step)
        return {key: float(value) for key, value in result.metrics.items()}

    def _options(self, loss: str, scale_rewards: bool) -> dict[str, Any]:
        """Backend-specific options of a training step."""
        return {"loss_fn": loss, "normalize_advantages": scale_rewards}

    def _trained(self, backend_step: int) -> None:
        """Called after each training step with the backend's step number."""

    async def skip_step(self) -> None:
        """Advance the step without training, if there is nothing to train on."""
        await self._backend.train(self._model, [])

    def chat_format(self) -> list[str]:
        """How the base model takes conversations and writes tool calls, a line each, where we render
        them."""
        return []

    async def sampler_stats(self) -> dict[str, float] | None:
        """The sampler's totals; None if it is not ours."""
        return None

    def checkpoint(self, step: int) -> Path:
        return checkpoints.checkpoint_dir(self.model_dir, step)

    async def fetch_adapter(self, step: int) -> Path:
        """A folder with a checkpoint's adapter, in PEFT's format."""
        return self.checkpoint(step)

    def trainer_metrics(self, step: int) -> dict[str, float]:
        """The trainer's metrics stored with a checkpoint."""
        return checkpoints.trainer_metrics(self.model_dir, step)

    async def prune(self, keep: Iterable[int]) -> None:
        """Delete all checkpoints except those of ``keep``."""
        checkpoints.prune(self.model_dir, keep)

    async def close(self) -> None:
        await self._backend.close()
