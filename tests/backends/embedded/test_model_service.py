"""What the service does beyond what ``open_policy`` asks of it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch
from art.types import TrainConfig

from backends import checkpoints
from backends.embedded.backend import EmbeddedBackend
from backends.embedded.model_service import EmbeddedService
from backends.errors import BackendError
from tests.backends.pocket import config, serve


async def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    service = EmbeddedService("pocket", config(), tmp_path, 0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BackendError, match=f"could not listen on 127.0.0.1:{port}"):
            await service.start_openai_server({"server_args": {"port": port}})
    service.close()


def test_the_untrained_policy_is_checkpoint_zero(tmp_path: Path) -> None:
    service = EmbeddedService("pocket", config(), tmp_path, 0)
    service.close()
    assert checkpoints.steps(tmp_path) == [0]


def test_it_can_be_closed_twice(tmp_path: Path) -> None:
    service = serve(tmp_path).service
    service.close()
    service.close()


async def test_the_threads_asked_for_are_taken(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    service = EmbeddedService("pocket", config(threads=1), tmp_path, 0)
    try:
        assert torch.get_num_threads() == 1
        assert not await service.vllm_engine_is_sleeping()
    finally:
        torch.set_num_threads(before)
        await service.aclose()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_a_broken_trainer_state_is_named(tmp_path: Path, content: bytes) -> None:
    EmbeddedService("pocket", config(), tmp_path, 0).close()
    file = checkpoints.checkpoint_dir(tmp_path, 0) / "trainer_state.pt"
    file.write_bytes(content)
    with pytest.raises(BackendError, match=str(file.parent)):
        EmbeddedService("pocket", config(), tmp_path, 0)


async def test_a_kl_penalty_is_refused(tmp_path: Path) -> None:
    import art

    backend = EmbeddedBackend(config(), tmp_path)
    model = art.TrainableModel(name="m", project="p", base_model=config().base_model)
    with pytest.raises(BackendError, match="no KL penalty"):
        await anext(
            backend._train_model(
                model, [], TrainConfig(learning_rate=1e-5, kl_penalty_coef=0.1), {}
            )
        )
    await backend.close()
