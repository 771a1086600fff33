"""ART's backend interface for the embedded engine and trainer: same calls, same checkpoints."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from art import TrainableModel, TrajectoryGroup, dev
from art.local.backend import LocalBackend
from art.metrics_taxonomy import build_training_summary_metrics, summarize_trajectory_groups
from art.preprocessing.pack import PackedTensors
from art.types import TrainConfig
from art.utils.output_dirs import get_model_dir

from backends.config import BackendConfig
from backends.embedded.model_service import EmbeddedService
from backends.errors import BackendError
from backends.handle import PolicyHandle
from backends.packing import pack_groups


class TrainedHere(Protocol):
    """What the backend requires of a model: it trains on packed tensors and writes checkpoints."""

    @property
    def engine(self) -> Any: ...

    async def train(
        self, packed: PackedTensors, config: TrainConfig, dev_config: dev.TrainConfig
    ) -> dict[str, float]: ...

    async def skip_step(self) -> None: ...

    async def aclose(self) -> None: ...


class EmbeddedPolicy(PolicyHandle):
    """A policy sampled and trained in this process."""

    _backend: EmbeddedBackend

    async def skip_step(self) -> None:
        await self._backend.service(self._model).skip_step()

    def chat_format(self) -> list[str]:
        lines: list[str] = self._backend.service(self._model).engine.policy.chat.describe()
        return lines

    async def sampler_stats(self) -> dict[str, float] | None:
        return asdict(self._backend.service(self._model).engine.stats())


class EmbeddedBackend(LocalBackend):
    """Trains and serves in this process, on a CPU or one GPU."""

    def __init__(self, config: BackendConfig, path: Path, seed: int = 0) -> None:
        super().__init__(in_process=True, path=str(path))
        self._config, self._seed = config, seed
        self._own: dict[str, TrainedHere] = {}

    async def _get_service(self, model: TrainableModel) -> Any:
        # ART's own method imports megatron and Unsloth.
        return self.service(model)

    def service(self, model: Any) -> TrainedHere:
        if model.name not in self._own:
            folder = Path(get_model_dir(model=model, art_path=self._path))
            self._own[model.name] = self._make_service(model.name, folder)
            self._services[model.name] = self._own[model.name]
        return self._own[model.name]

    def _make_service(self, name: str, folder: Path) -> TrainedHere:
        return EmbeddedService(name, self._config, folder, self._seed)

    async def _train_model(
        self,
        model: TrainableModel,
        trajectory_groups: list[TrajectoryGroup],
        config: TrainConfig,
        dev_config: dev.TrainConfig,
        verbose: bool = False,
    ) -> AsyncIterator[dict[str, float]]:
        # ART's own method re-tokenises (see backends.packing); with nothing to train on, it prints
        # a line and copies the checkpoint file by file.
        if config.kl_penalty_coef:
            raise BackendError("the embedded backend has no KL penalty: set it to 0")
        service = self.service(model)
        packed = pack_groups(
            trajectory_groups,
            service.engine.policy.chat.tokenizer,
            scale_rewards=dev_config.get("scale_rewards", True),
            advantage_balance=dev_config.get("advantage_balance", 0.0),
            max_tokens=service.engine.policy.max_tokens,
        )
        if packed is None:
            raise ValueError("no trajectory differs from its group: there is nothing to train on")
        summary: dict[str, Any] = build_training_summary_metrics(
            summarize_trajectory_groups(trajectory_groups), include_trainable_groups=True
        )
        yield {**summary, **await service.train(packed, config, dev_config)}
