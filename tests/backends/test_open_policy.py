"""The embedded backend, through the door everyone takes."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import art
import openai
import pytest
import torch
from openai import AsyncOpenAI
from safetensors.torch import load_file

from backends import BackendError, PolicyHandle, check, install_adapter, open_policy
from backends.config import BackendConfig
from tests.backends.pocket import QUESTIONS, config

RATE = 1e-3


async def opened(path: Path, **changes: Any) -> PolicyHandle:
    return await open_policy(config(**changes), project="shop", name="clerk", path=path)


@asynccontextmanager
async def client_of(policy: PolicyHandle) -> AsyncIterator[AsyncOpenAI]:
    endpoint = policy.endpoint
    async with AsyncOpenAI(
        base_url=endpoint.base_url, api_key=endpoint.api_key, max_retries=0
    ) as client:
        yield client


async def ask(policy: PolicyHandle, name: str, question: str = QUESTIONS[0], **options: Any) -> Any:
    options = {"temperature": 0, "max_tokens": 10, "logprobs": True} | options
    async with client_of(policy) as client:
        return await client.chat.completions.create(
            model=name,
            messages=[{"role": "user", "content": question}],
            extra_body={"return_token_ids": True},
            **options,
        )


async def surprise(policy: PolicyHandle, name: str) -> float:
    """The log-probability of a fixed seed's tokens: a fingerprint of the weights."""
    reply = await ask(policy, name, temperature=1, seed=1)
    return sum(entry.logprob for entry in reply.choices[0].logprobs.content)


async def sampled_group(policy: PolicyHandle, question: str, size: int = 4) -> art.TrajectoryGroup:
    name = policy.inference_name(await policy.step())
    trajectories = []
    for seed in range(size):
        reply = await ask(policy, name, question, temperature=1, seed=seed)
        choice = reply.choices[0].model_dump() | {"prompt_token_ids": reply.prompt_token_ids}
        trajectories.append(
            art.Trajectory(
                messages_and_choices=[
                    {"role": "user", "content": question},
                    type(reply.choices[0]).model_validate(choice),
                ],
                reward=float(seed % 2),
            )
        )
    return art.TrajectoryGroup(trajectories)


async def train(policy: PolicyHandle, group: art.TrajectoryGroup) -> dict[str, float]:
    random.seed(0)  # ART shuffles the rows: the same order, the same rounding
    return await policy.train([group], learning_rate=RATE)


def weights(policy: PolicyHandle, step: int) -> dict[str, torch.Tensor]:
    return load_file(policy.checkpoint(step) / "adapter_model.safetensors")


def moments(policy: PolicyHandle, step: int) -> dict[int, Any]:
    state = torch.load(policy.checkpoint(step) / "trainer_state.pt", weights_only=True)
    return state["optimizer"]["state"]


async def test_a_step_makes_the_next_checkpoint_and_serves_it(tmp_path: Path) -> None:
    async with await opened(tmp_path) as policy:
        assert await policy.step() == 0
        assert policy.inference_name(0) == "clerk@0"
        base = await surprise(policy, "clerk@0")
        metrics = await train(policy, await sampled_group(policy, QUESTIONS[0]))

        assert await policy.step() == 1
        folder = tmp_path / "shop" / "models" / "clerk" / "checkpoints" / "0001"
        assert policy.checkpoint(1) == folder
        assert {"adapter_model.safetensors", "adapter_config.json", "metrics.json"} <= {
            file.name for file in folder.iterdir()
        }
        recorded = policy.trainer_metrics(1)
        assert recorded == json.loads((folder / "metrics.json").read_text())
        assert recorded["loss/probs_corr"] == pytest.approx(1, abs=1e-6)
        for name in ("loss/train", "loss/probs_corr", "data/trained_tokens"):
            assert metrics[name] == pytest.approx(recorded[name])

        newest = await surprise(policy, "clerk@1")
        # Equal but for rounding: the second time most of the prompt comes from the cache.
        assert await surprise(policy, "clerk") == pytest.approx(newest, abs=1e-5)
        assert await surprise(policy, "clerk@0") == pytest.approx(base, abs=1e-5)
        assert abs(newest - base) > 1e-3
        with pytest.raises(openai.NotFoundError):
            await ask(policy, "clerk@2")
        with pytest.raises(openai.NotFoundError):
            await ask(policy, "someone@1")


async def test_what_is_reopened_continues_as_if_it_had_never_been_closed(tmp_path: Path) -> None:
    async with await opened(tmp_path / "one") as policy:
        groups = [await sampled_group(policy, question) for question in QUESTIONS[:2]]
        for group in groups:
            await train(policy, group)
        expected = weights(policy, 2), moments(policy, 2), await surprise(policy, "clerk@2")
    for number, group in enumerate(groups):
        async with await opened(tmp_path / "other") as policy:
            assert await policy.step() == number
            await train(policy, group)
            reopened = weights(policy, 2 if number else 1)
            fingerprint = await surprise(policy, f"clerk@{number + 1}")
    assert reopened.keys() == expected[0].keys()
    for name, weight in reopened.items():
        assert torch.allclose(weight, expected[0][name], atol=1e-6), name
    for key, state in moments(policy, 2).items():
        assert int(state["step"]) == 2
        assert torch.allclose(state["exp_avg"], expected[1][key]["exp_avg"], atol=1e-6)
    assert fingerprint == pytest.approx(expected[2], abs=1e-3)


async def test_a_skipped_step_keeps_weights_and_optimizer(tmp_path: Path) -> None:
    async with await opened(tmp_path) as policy:
        await train(policy, await sampled_group(policy, QUESTIONS[0]))
        fingerprint = await surprise(policy, "clerk@1")
        await policy.skip_step()
        assert await policy.step() == 2
        assert await surprise(policy, "clerk@2") == fingerprint
        assert policy.trainer_metrics(2) == {}
        for name, weight in weights(policy, 1).items():
            assert torch.equal(weight, weights(policy, 2)[name])
    async with await opened(tmp_path) as policy:
        assert await policy.step() == 2
        await train(policy, await sampled_group(policy, QUESTIONS[0]))
        assert {int(state["step"]) for state in moments(policy, 3).values()} == {2}


async def test_pruned_checkpoints_are_gone_and_kept_ones_answer(tmp_path: Path) -> None:
    async with await opened(tmp_path) as policy:
        for _ in range(4):
            await policy.skip_step()
        await policy.prune(keep=[1, 4])
        assert await policy.step() == 4
        assert await ask(policy, "clerk@1")
        for step in (0, 2, 3):
            with pytest.raises(openai.NotFoundError):
                await ask(policy, f"clerk@{step}")


async def test_replies_and_training_do_not_get_in_each_others_way(tmp_path: Path) -> None:
    """Requests that come while a step is trained are answered, by the step they ask for."""
    async with await opened(tmp_path) as policy:
        group = await sampled_group(policy, QUESTIONS[0])
        before = await surprise(policy, "clerk@0")
        training = asyncio.create_task(train(policy, group))
        during = await asyncio.gather(*(surprise(policy, "clerk@0") for _ in range(6)))
        await training
        assert during == pytest.approx([before] * 6, abs=1e-3)
        assert await policy.step() == 1


async def test_a_step_with_nothing_to_learn_from_is_an_error_and_changes_nothing(
    tmp_path: Path,
) -> None:
    async with await opened(tmp_path) as policy:
        group = await sampled_group(policy, QUESTIONS[0])
        for trajectory in group.trajectories:
            trajectory.reward = 0.5
        with pytest.raises(ValueError, match="nothing to train on"):
            await train(policy, group)
        assert await policy.step() == 0
        assert await ask(policy, "clerk")


async def test_a_step_that_fails_leaves_the_policy_as_it_was(tmp_path: Path) -> None:
    async with await opened(tmp_path) as policy:
        group = await sampled_group(policy, QUESTIONS[0])
        before = await surprise(policy, "clerk@0")
        broken = group.model_copy(deep=True)
        broken.trajectories[0].reward = float("inf")
        with pytest.raises((FloatingPointError, ValueError)):
            await train(policy, broken)
        assert await policy.step() == 0
        assert await surprise(policy, "clerk@0") == before
        await train(policy, group)
        assert await policy.step() == 1


async def test_the_sampler_can_be_asked_what_it_did(tmp_path: Path) -> None:
    async with await opened(tmp_path) as policy:
        reply = await ask(policy, "clerk")
        stats = await policy.sampler_stats()
        assert stats is not None
        assert stats["requests"] == 1
        assert stats["sampled_tokens"] == reply.usage.completion_tokens


async def test_an_installed_adapter_is_the_policy(tmp_path: Path) -> None:
    async with await opened(tmp_path / "trained") as policy:
        await train(policy, await sampled_group(policy, QUESTIONS[0]))
        fingerprint, adapter = await surprise(policy, "clerk@1"), policy.checkpoint(1)
    (adapter / "trainer_state.pt").unlink()
    install_adapter(adapter, tmp_path / "served", "shop", "clerk")
    async with await opened(tmp_path / "served") as policy:
        assert await policy.step() == 1
        assert await surprise(policy, "clerk@1") == pytest.approx(fingerprint, abs=1e-3)


async def test_policies_side_by_side_have_ports_of_their_own(tmp_path: Path) -> None:
    async with await opened(tmp_path / "a") as one, await opened(tmp_path / "b") as other:
        assert one.endpoint.base_url != other.endpoint.base_url
        assert await surprise(one, "clerk") == await surprise(other, "clerk")


async def test_a_closed_policy_answers_no_more(tmp_path: Path) -> None:
    async with await opened(tmp_path) as policy:
        pass
    with pytest.raises(openai.APIConnectionError):
        await ask(policy, "clerk")


async def test_a_model_that_cannot_be_loaded_is_an_error_before_anything_is_written(
    tmp_path: Path,
) -> None:
    with pytest.raises(BackendError, match="no such folder"):
        await opened(tmp_path, base_model="/no/such/folder")
    assert not list(tmp_path.rglob("checkpoints"))


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"kind": "local"}, "needs a CUDA GPU.*or use backend.kind: embedded"),
        ({"kind": "serverless"}, "needs the environment variable WANDB_API_KEY"),
        ({"kind": "tinker"}, "needs the environment variable TINKER_API_KEY"),
        ({"kind": "embedded", "device": "cuda"}, "use device: cpu or auto"),
    ],
)
async def test_what_a_backend_lacks_is_said_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: dict[str, Any], text: str
) -> None:
    for key in ("WANDB_API_KEY", "TINKER_API_KEY"):
        monkeypatch.delenv(key, raising=False)
    with pytest.raises(BackendError, match=text):
        check(BackendConfig(**settings))
    with pytest.raises(BackendError, match=text):
        await open_policy(BackendConfig(**settings), project="p", name="n", path=tmp_path)


@pytest.mark.usefixtures("no_gpu")
def test_what_a_backend_has_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "set")
    check(BackendConfig(kind="serverless"))
    check(config(device="auto"))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("local", "needs unsloth and trl: pip install -r requirements-gpu.txt"),
        ("tinker", "needs tinker: pip install -r requirements-tinker.txt"),
    ],
)
def test_a_package_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, kind: Any, text: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("TINKER_API_KEY", "set")
    with pytest.raises(BackendError, match=text):
        check(BackendConfig(kind=kind))


def test_local_needs_what_art_installs_vllm_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("ART_VLLM_RUNTIME_BIN", raising=False)
    with pytest.raises(BackendError, match="needs uv on the PATH"):
        check(BackendConfig(kind="local"))
    monkeypatch.setenv("ART_VLLM_RUNTIME_BIN", "/opt/vllm/bin/server")
    check(BackendConfig(kind="local"))


async def test_a_key_for_wandb_makes_art_open_no_run_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It would be the second one of its id, which W&B refuses."""
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setattr("wandb.init", lambda **_: pytest.fail("ART opened a W&B run"))
    async with await opened(tmp_path) as policy:
        group = await sampled_group(policy, QUESTIONS[0])
        assert await train(policy, group)
