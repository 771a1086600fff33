"""ART's backend interface over Tinker, with the exact tokens.

ART has backends for Tinker of its own. Their servers report no prompt tokens, one of them renders
tools in another form than it was asked, and ``art.tinker`` cannot be started without megatron
(openpipe-art 0.5.18). Here Tinker samples and trains behind the same server and the same packing as
the embedded backend, so what is trained on is what was sampled.
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
    """A policy at Tinker; what lies in the folders here are the addresses of its checkpoints."""

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
