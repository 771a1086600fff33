"""The embedded implementation of ART's model service: a policy server and a trainer."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from backends import checkpoints
from backends.config import BackendConfig
from backends.embedded.engine import Engine
from backends.embedded.policy import Policy
from backends.embedded.trainer import Trainer
from backends.errors import BackendError
from backends.listener import Listener
from backends.openai_server import create_app

if TYPE_CHECKING:
    from art.dev import OpenAIServerConfig
    from art.dev import TrainConfig as DevTrainConfig
    from art.preprocessing.pack import PackedTensors
    from art.types import TrainConfig

log = logging.getLogger(__name__)

_TRAINER_STATE = "trainer_state.pt"


class EmbeddedService:
    """One model with its policy server on loopback, its trainer and its checkpoints.

    Raises:
        BackendError: see ``Policy``.
    """

    def __init__(self, name: str, config: BackendConfig, model_dir: Path, seed: int) -> None:
        if config.threads:
            torch.set_num_threads(config.threads)
        self._name, self._model_dir = name, model_dir
        self._policy = Policy(config, model_dir, seed)
        self._trainer = Trainer(self._policy)
        self._engine = Engine(self._policy)
        self._listener: Listener | None = None
        if self._policy.steps:
            state = checkpoints.checkpoint_dir(model_dir, self._policy.step) / _TRAINER_STATE
            if state.exists():
                self._restore_trainer(state)
        else:
            self._save(0, {})

    @property
    def engine(self) -> Engine:
        return self._engine

    async def start_openai_server(self, config: OpenAIServerConfig | None) -> tuple[str, int]:
        """Serve on loopback; returns host and port."""
        arguments = dict((config or {}).get("server_args", {}))
        host, port = str(arguments.get("host") or "127.0.0.1"), int(str(arguments["port"]))
        app = create_app(self._engine, self._name, api_key=key_of(arguments.get("api_key")))
        self._listener = Listener(app, host, port)
        await self._listener.start()
        return host, port

    async def vllm_engine_is_sleeping(self) -> bool:
        return False

    async def train(
        self, packed: PackedTensors, config: TrainConfig, dev_config: DevTrainConfig
    ) -> dict[str, float]:
        """Take one optimizer step and write the next checkpoint."""

        def step() -> dict[str, float]:
            metrics = self._trainer.train(packed, config, dev_config)
            metrics["data/step_num_gradient_steps"] = 1.0
            self._advance(lambda new: self._save(new, metrics))
            return metrics

        return await asyncio.wrap_future(self._engine.call(step))

    async def skip_step(self) -> None:
        """Advance with unchanged weights, for a step with nothing to train on."""

        def copy() -> None:
            old = self._policy.step
            self._advance(lambda new: checkpoints.copy_checkpoint(self._model_dir, old, new))

        await asyncio.wrap_future(self._engine.call(copy))

    async def aclose(self) -> None:
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        if self._listener:
            self._listener.stop()
            self._listener = None
        self._engine.stop()

    def _restore_trainer(self, state: Path) -> None:
        try:
            self._trainer.restore(torch.load(state, weights_only=True))
        except (OSError, RuntimeError, ValueError, KeyError, EOFError, pickle.PickleError) as error:
            raise BackendError(
                f"cannot read the optimizer state in {state}: {error}. Delete that checkpoint to "
                "continue from the previous one"
            ) from error

    def _advance(self, save: Any) -> None:
        new = self._policy.step + 1
        save(new)
        self._engine.weights_changed()
        self._policy.advance(new)

    def _save(self, step: int, metrics: dict[str, float]) -> None:
        def write(folder: Path) -> None:
            self._policy.trained.save_pretrained(str(folder))
            torch.save(self._trainer.state(), folder / _TRAINER_STATE)
            # Stored with the weights, so that a kill before the run logs them loses nothing.
            (folder / checkpoints.METRICS).write_text(json.dumps(metrics))

        checkpoints.write_checkpoint(self._model_dir, step, write)


def key_of(value: object) -> str | None:
    """ART passes ``default`` if no key is set."""
    return None if value in (None, "default") else str(value)
