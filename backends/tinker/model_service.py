"""The Tinker implementation of ART's model service: a local policy server, remote training.

A local checkpoint folder holds the addresses of its weights at Tinker and is written once these
exist; a killed run resumes from the newest one, including the optimizer state.
"""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import tinker
import torch

from backends import checkpoints
from backends.agreement import agreement
from backends.chat_format import load_chat_format
from backends.config import BackendConfig
from backends.embedded.model_service import key_of
from backends.errors import BackendError
from backends.listener import Listener
from backends.openai_server import create_app
from backends.tinker.engine import RemotePolicy, TinkerEngine

if TYPE_CHECKING:
    from art.dev import OpenAIServerConfig
    from art.dev import TrainConfig as DevTrainConfig
    from art.preprocessing.pack import PackedTensors
    from art.types import TrainConfig

_ADDRESSES = "tinker.json"
_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


class TinkerService:
    """
    Raises:
        BackendError: the model cannot be loaded, or agents cannot use it.
    """

    def __init__(self, name: str, config: BackendConfig, model_dir: Path, seed: int) -> None:
        self._name, self._config, self._model_dir, self._seed = name, config, model_dir, seed
        chat = load_chat_format(config)
        steps = checkpoints.steps(model_dir)
        self._weights = {step: self._addresses(step)["sampler"] for step in steps}
        policy = RemotePolicy(chat, config.max_sequence_tokens, steps[-1] if steps else 0)
        self.engine = TinkerEngine(policy, self._weights)
        self._client: Any = None
        self._training: Any = None
        self._listener: Listener | None = None

    def _connect(self) -> None:
        try:
            self._client = self.engine.client = tinker.ServiceClient()
            self._training = self._training_client(self.engine.policy.step)
        except tinker.TinkerError as error:
            message = f"Tinker refuses to train {self._config.base_model}: {error}"
            raise BackendError(message) from error

    def _training_client(self, step: int) -> Any:
        if self._weights:
            return self._client.create_training_client_from_state_with_optimizer(
                self._addresses(step)["state"]
            )
        return self._client.create_lora_training_client(
            self._config.base_model,
            rank=self._config.lora.rank,
            seed=self._seed,
            train_unembed=False,
        )

    async def start_openai_server(self, config: OpenAIServerConfig | None) -> tuple[str, int]:
        """Serve on loopback; returns host and port.

        Raises:
            BackendError: Tinker rejects the key or the model.
        """
        # In a thread: the client blocks on the network.
        await asyncio.to_thread(self._connect)
        if not self._weights:
            await self._save(0, {})
        arguments = dict((config or {}).get("server_args", {}))
        host, port = "127.0.0.1", int(str(arguments["port"]))
        app = create_app(self.engine, self._name, key_of(arguments.get("api_key")))
        self._listener = Listener(app, host, port)
        await self._listener.start()
        return host, port

    async def train(
        self, packed: PackedTensors, config: TrainConfig, dev_config: DevTrainConfig
    ) -> dict[str, float]:
        """Take one optimizer step with ART's loss and write the next checkpoint."""
        tensors = {k: v for k, v in packed.items() if isinstance(v, torch.Tensor)}
        lengths = (tensors["parent_ids"] != -1).sum(dim=1).tolist()
        data = [
            _datum(ids[:length]) for ids, length in zip(tensors["tokens"], lengths, strict=True)
        ]

        def loss(_: object, logprobs: list[torch.Tensor]) -> tuple[torch.Tensor, dict[str, float]]:
            return _loss(tensors, logprobs, dev_config)

        passed = await self._training.forward_backward_custom_async(data, loss)
        stepped = await self._training.optim_step_async(
            tinker.AdamParams(
                learning_rate=config.learning_rate,
                beta1=0.9,
                beta2=0.99,
                eps=1e-8,
                grad_clip_norm=1.0,
            )
        )
        result = await passed.result_async()
        await stepped.result_async()
        metrics = {key: float(value) for key, value in result.metrics.items() if "/" in key}
        metrics["data/step_num_gradient_steps"] = 1.0
        await self._save(self.engine.policy.step + 1, metrics)
        return metrics

    async def skip_step(self) -> None:
        """Advance with unchanged weights, for a step with nothing to train on."""
        old = self.engine.policy.step
        checkpoints.copy_checkpoint(self._model_dir, old, old + 1)
        self._weights[old + 1] = self._weights[old]
        self.engine.policy.step = old + 1

    async def download(self, step: int) -> None:
        """Download a checkpoint's adapter into its folder."""
        folder = checkpoints.checkpoint_dir(self._model_dir, step)
        if all((folder / name).exists() for name in _ADAPTER_FILES):
            return
        rest = self._client.create_rest_client()
        archive = await rest.get_checkpoint_archive_url_from_tinker_path_async(self._weights[step])
        async with httpx.AsyncClient(timeout=600, follow_redirects=True) as client:
            reply = (await client.get(archive.url)).raise_for_status()
        with tarfile.open(fileobj=io.BytesIO(reply.content)) as files:
            for member in files.getmembers():
                name = Path(member.name).name
                content = files.extractfile(member) if name in _ADAPTER_FILES else None
                if content:
                    (folder / name).write_bytes(content.read())

    async def prune(self, keep: Iterable[int]) -> None:
        """Delete all checkpoints except those of ``keep``, locally and at Tinker."""
        kept = set(keep)
        rest = self._client.create_rest_client()
        doomed = [step for step in self._weights if step not in kept]
        paths = {path for step in doomed for path in self._addresses(step).values()}
        needed = {
            path for step in kept & self._weights.keys() for path in self._addresses(step).values()
        }
        for path in sorted(paths - needed):
            await rest.delete_checkpoint_from_tinker_path_async(path)
        checkpoints.prune(self._model_dir, kept)
        for step in doomed:
            del self._weights[step]

    async def vllm_engine_is_sleeping(self) -> bool:
        return False

    async def aclose(self) -> None:
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        if self._listener:
            self._listener.stop()
            self._listener = None
        if self._client:
            # Otherwise its heartbeat keeps the session alive until the process ends.
            self._client.holder.close()
            self._client = None

    async def _save(self, step: int, metrics: dict[str, float]) -> None:
        name = f"step-{step:04d}"
        saving = [
            await self._training.save_state_async(name),
            await self._training.save_weights_for_sampler_async(name),
        ]
        state, sampler = [(await each.result_async()).path for each in saving]

        def write(folder: Path) -> None:
            (folder / _ADDRESSES).write_text(json.dumps({"state": state, "sampler": sampler}))
            (folder / checkpoints.METRICS).write_text(json.dumps(metrics))

        checkpoints.write_checkpoint(self._model_dir, step, write)
        self._weights[step] = sampler
        await asyncio.to_thread(self.engine.sampler, step)
        self.engine.policy.step = step

    def _addresses(self, step: int) -> dict[str, str]:
        file = checkpoints.checkpoint_dir(self._model_dir, step) / _ADDRESSES
        addresses: dict[str, str] = json.loads(file.read_text())
        return addresses


def _datum(ids: torch.Tensor) -> Any:
    """A row with next-token targets."""
    return tinker.Datum(
        model_input=tinker.ModelInput.from_ints(ids[:-1].tolist()),
        loss_fn_inputs={
            "target_tokens": tinker.TensorData.from_torch(ids[1:]),
            "weights": tinker.TensorData.from_torch(torch.ones(len(ids) - 1)),
        },
    )


def _loss(
    tensors: dict[str, torch.Tensor], logprobs: list[torch.Tensor], config: DevTrainConfig
) -> tuple[torch.Tensor, dict[str, float]]:
    """ART's loss per trained token, from the log-probabilities that Tinker computed."""
    from art.loss import loss_fn, shift_tensor

    width = tensors["tokens"].shape[1]
    rows_B_T = torch.stack(
        [torch.nn.functional.pad(row, (0, width - len(row))) for row in logprobs]
    )
    mask = shift_tensor(tensors["assistant_mask"], False)
    summed: Any = loss_fn(tensors, rows_B_T, None, None, config, reduction="sum")
    loss = summed.policy_loss_sum / int(mask.sum())
    sampled = shift_tensor(tensors["logprobs"], 0.0)[mask]
    return loss, {
        "loss/train": loss.item(),
        "data/trained_tokens": float(mask.sum()),
        **agreement(sampled, rows_B_T.detach()[mask]),
    }
