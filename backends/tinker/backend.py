"""ART's backend interface for Tinker, with exact tokens.

ART's own Tinker backends (openpipe-art 0.5.18) report no prompt tokens, one of them renders tools
differently than requested, and ``art.tinker`` does not start without megatron. Here, Tinker samples
and trains behind the embedded backend's server and packing, so it trains on the sampled tokens.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from backends.embedded.backend import EmbeddedBackend, EmbeddedPolicy
from backends.tinker.model_service import TinkerService


class TinkerBackend(EmbeddedBackend):
    def _make_service(self, name: str, folder: Path) -> Any:
        return TinkerService(name, self._config, folder, self._seed)


class TinkerPolicy(EmbeddedPolicy):
    """A policy at Tinker; local checkpoint folders hold the addresses of its weights."""

    async def fetch_adapter(self, step: int) -> Path:
        await self._tinker().download(step)
        return self.checkpoint(step)

    async def prune(self, keep: Iterable[int]) -> None:
        await self._tinker().prune(keep)

    async def sampler_stats(self) -> None:
        return None

    def _tinker(self) -> TinkerService:
        service = self._backend.service(self._model)
        assert isinstance(service, TinkerService)
        return service
