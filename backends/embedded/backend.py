"""ART's backend interface over the embedded service: same calls, same checkpoint layout."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

from art import TrainableModel, TrajectoryGroup, dev
from art.local.backend import LocalBackend
from art.local.service import ModelService
from art.metrics_taxonomy import build_training_summary_metrics, summarize_trajectory_groups
from art.preprocessing.pack import packed_tensors_to_dir
from art.types import TrainConfig
from art.utils.output_dirs import get_model_dir

from backends.config import BackendConfig
from backends.embedded.model_service import EmbeddedService
from backends.errors import BackendError
from backends.packing import pack_groups


class EmbeddedBackend(LocalBackend):
    """Trains and serves in this process, on a CPU or one GPU."""

    def __init__(self, config: BackendConfig, path: Path, seed: int = 0) -> None:
        super().__init__(in_process=True, path=str(path))
        self._config, self._seed = config, seed

    async def _get_service(self, model: TrainableModel) -> ModelService:
        # ART's own method builds a configuration that imports megatron, and then Unsloth.
        if model.name not in self._services:
            folder = Path(get_model_dir(model=model, art_path=self._path))
            service = self._make_service(model.name, folder)
            self._services[model.name] = cast("ModelService", service)
        return self._services[model.name]

    def _make_service(self, name: str, folder: Path) -> Any:
        return EmbeddedService(name, self._config, folder, self._seed)

    async def service(self, model: TrainableModel) -> EmbeddedService:
        return cast("EmbeddedService", await self._get_service(model))

    async def skip_step(self, model: TrainableModel) -> None:
        """Advance the checkpoint without training; see ``EmbeddedService.skip_step``."""
        await (await self.service(model)).skip_step()

    async def _train_model(
        self,
        model: TrainableModel,
        trajectory_groups: list[TrajectoryGroup],
        config: TrainConfig,
        dev_config: dev.TrainConfig,
        verbose: bool = False,
    ) -> AsyncIterator[dict[str, float]]:
        # ART's own method re-tokenises (see backends.packing), and where nothing can be trained it
        # prints a line and copies the checkpoint, file by file.
        if config.kl_penalty_coef:
            raise BackendError("the embedded backend has no KL penalty: set it to 0")
        service = await self.service(model)
        packed = pack_groups(
            trajectory_groups,
            service.engine.policy.tokenizer,
            scale_rewards=dev_config.get("scale_rewards", True),
            advantage_balance=dev_config.get("advantage_balance", 0.0),
            max_tokens=service.engine.policy.max_tokens,
        )
        if packed is None:
            raise ValueError("no trajectory differs from its group: there is nothing to train on")
        folder = Path(get_model_dir(model=model, art_path=self._path)) / "tensors"
        on_disk = packed_tensors_to_dir(packed, str(folder))
        summary: dict[str, Any] = build_training_summary_metrics(
            summarize_trajectory_groups(trajectory_groups), include_trainable_groups=True
        )
        async for metrics in service.train(on_disk, config, dev_config, verbose):
            yield {**summary, **metrics}
