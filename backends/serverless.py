"""W&B's serverless training through ART: the policy is entirely remote.

W&B tokenises conversations itself, so we cannot tell whether it trains on the sampled tokens:
``exact_tokens`` is False, there is no ``probs_corr``, and runs say so. Written against openpipe-art
0.5.18; W&B's side is only tested as far as ART's client goes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from backends.art_compat import delete_checkpoints, newest_step, pull_checkpoint
from backends.handle import PolicyHandle

_STEPS = "steps.json"
_WEIGHTS = "adapter_model.safetensors"


class ServerlessPolicy(PolicyHandle):
    """A policy at W&B.

    Steps with nothing to train on create no checkpoint there, so ``steps.json`` in the model's folder
    maps our steps to W&B's.
    """

    exact_tokens = False

    async def step(self) -> int:
        steps, newest = self._steps(), await self._newest()
        if newest > steps[-1]:
            # Killed after training but before recording it, or trained by another machine.
            self._keep([*steps, newest])
        return len(self._steps()) - 1

    def inference_name(self, step: int) -> str:
        return super().inference_name(self._steps()[step])

    def _options(self, loss: str, scale_rewards: bool) -> dict[str, Any]:
        return {"ppo": loss == "ppo"}

    def _trained(self, backend_step: int) -> None:
        self._keep([*self._steps(), backend_step])

    async def skip_step(self) -> None:
        steps = self._steps()
        self._keep([*steps, steps[-1]])

    async def fetch_adapter(self, step: int) -> Path:
        folder = self.checkpoint(step)
        if not (folder / _WEIGHTS).exists():
            await pull_checkpoint(self._backend, self._model, self._steps()[step], str(folder))
        return folder

    async def prune(self, keep: Iterable[int]) -> None:
        steps = self._steps()
        kept = sorted({steps[step] for step in keep if 0 <= step < len(steps)})
        await delete_checkpoints(self._backend, self._model, kept)

    async def _newest(self) -> int:
        return await newest_step(self._backend, self._model)

    def _steps(self) -> list[int]:
        path = self.model_dir / _STEPS
        steps: list[int] = json.loads(path.read_text()) if path.exists() else [0]
        return steps

    def _keep(self, steps: list[int]) -> None:
        self.model_dir.mkdir(parents=True, exist_ok=True)
        partial = self.model_dir / f"{_STEPS}.partial"
        partial.write_text(json.dumps(steps))
        os.replace(partial, self.model_dir / _STEPS)
