"""What every backend must do, through the one door. ``embedded`` is driven as it is; ``tinker`` and
``serverless`` with the vendors' own clients against a server on loopback that speaks their API.
``local`` needs a GPU: see test_local.py and test_exact_tokens.py for what runs without one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import art
import httpx
import pytest
from safetensors.torch import load_file

from backends import BackendError, PolicyHandle, open_policy
from backends.config import BackendConfig
from backends.loading import load_tokenizer
from tests.backends.pocket import POCKET, QUESTIONS, TOOLS, config
from tests.backends.test_open_policy import ask, sampled_group
from tests.fakes.tinker_server import KEY, TinkerServer
from tests.fakes.vllm_server import writes
from tests.fakes.wandb_server import WandbServer

CALL = (
    '<tool_call>\n{"name": "search_inbox_tool", "arguments": {"keywords": ["Bob"]}}\n</tool_call>'
)


@dataclass
class World:
    """A backend and what stands for its vendor."""

    kind: str
    config: BackendConfig
    vendor: Any = None

    async def open(self, path: Path) -> PolicyHandle:
        return await open_policy(self.config, project="shop", name="clerk", path=path)


@pytest.fixture(params=["embedded", "tinker", "serverless"])
def world(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[World]:
    yield from globals()[f"_{request.param}"](monkeypatch, tmp_path)


def _embedded(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[World]:
    yield World("embedded", config())


def _tinker(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[World]:
    monkeypatch.setenv("TINKER_API_KEY", KEY)
    monkeypatch.setenv("TINKER_TELEMETRY", "0")
    with TinkerServer(config()) as server:
        monkeypatch.setenv("TINKER_BASE_URL", server.url)
        yield World("tinker", config(kind="tinker"), server)


def _serverless(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[World]:
    import art.serverless.backend as arts
    from art.serverless.client import Client

    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    with WandbServer(load_tokenizer(POCKET), writes(CALL)) as server:
        monkeypatch.setattr(arts, "Client", lambda **_: Client(base_url=server.base_url))
        yield World("serverless", config(kind="serverless"), server)


@pytest.fixture
async def policy(world: World, tmp_path: Path) -> AsyncIterator[PolicyHandle]:
    async with await world.open(tmp_path / "art") as opened:
        yield opened


async def group(policy: PolicyHandle) -> art.TrajectoryGroup:
    return await sampled_group(policy, QUESTIONS[0])


async def said(policy: PolicyHandle, step: int) -> list[int]:
    """The tokens of a greedy reply."""
    reply = await ask(policy, policy.inference_name(step))
    ids: list[int] = reply.choices[0].model_extra["token_ids"]
    return ids


async def test_it_opens_untrained_and_answers_under_its_name(policy: PolicyHandle) -> None:
    assert await policy.step() == 0
    name = policy.inference_name(0)
    reply = await ask(policy, name, tools=TOOLS)
    assert reply.model == name
    choice = reply.choices[0]
    assert choice.message.content or choice.message.tool_calls
    ids = choice.model_extra["token_ids"]
    assert len(ids) == len(choice.logprobs.content) == reply.usage.completion_tokens
    assert len(reply.model_extra["prompt_token_ids"]) == reply.usage.prompt_tokens


async def test_a_name_that_it_does_not_have_is_refused(policy: PolicyHandle) -> None:
    import openai

    with pytest.raises(openai.NotFoundError):
        await ask(policy, policy.inference_name(0).replace("0", "7"))


async def test_training_makes_the_next_step_under_a_name_of_its_own(policy: PolicyHandle) -> None:
    metrics = await policy.train([await group(policy)], learning_rate=1e-3)
    assert all(isinstance(value, float) for value in metrics.values())
    assert metrics["data/step_num_groups_trainable"] == 1
    assert "loss/train" in metrics
    assert await policy.step() == 1
    assert policy.inference_name(1) != policy.inference_name(0)
    for step in (0, 1):
        assert (await ask(policy, policy.inference_name(step))).choices


async def test_what_is_exact_shows_in_the_agreement(policy: PolicyHandle) -> None:
    metrics = await policy.train([await group(policy)], learning_rate=1e-3)
    if policy.exact_tokens:
        assert metrics["loss/probs_corr"] > 0.999
        assert metrics["loss/logprob_diff"] < 1e-3
    else:
        assert "loss/probs_corr" not in metrics


@pytest.mark.parametrize("loss", ["cispo", "ppo"])
async def test_both_losses_train(policy: PolicyHandle, loss: Any) -> None:
    await policy.train([await group(policy)], learning_rate=1e-3, loss=loss, scale_rewards=False)
    assert await policy.step() == 1


async def test_a_step_without_training_counts_too(policy: PolicyHandle) -> None:
    await policy.skip_step()
    assert await policy.step() == 1
    assert (await ask(policy, policy.inference_name(1))).choices
    await policy.train([await group(policy)], learning_rate=1e-3)
    assert await policy.step() == 2
    assert (await ask(policy, policy.inference_name(2))).choices


async def test_opened_again_it_is_where_it_was(world: World, tmp_path: Path) -> None:
    async with await world.open(tmp_path / "art") as first:
        await first.train([await group(first)], learning_rate=1e-3)
        await first.skip_step()
        before = await said(first, 2)
    async with await world.open(tmp_path / "art") as again:
        assert await again.step() == 2
        assert await said(again, 2) == before
        await again.train([await group(again)], learning_rate=1e-3)
        assert await again.step() == 3


async def test_pruned_it_keeps_what_it_was_told_to(world: World, policy: PolicyHandle) -> None:
    await policy.train([await group(policy)], learning_rate=1e-3)
    await policy.skip_step()
    await policy.train([await group(policy)], learning_rate=1e-3)
    await policy.prune([2, 3])
    assert await policy.step() == 3
    for step in (2, 3):
        assert (await ask(policy, policy.inference_name(step))).choices
    if world.kind == "serverless":
        assert world.vendor.steps == {"shop-clerk": [1, 2]}
    else:
        assert {p.name for p in policy.checkpoint(3).parent.iterdir()} == {"0002", "0003"}
    if world.kind == "tinker":
        kept = {address.rpartition("/")[2] for address in world.vendor.checkpoints}
        assert kept == {"step-0001", "step-0003"}


async def test_its_adapter_can_be_fetched(
    world: World, policy: PolicyHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    await policy.train([await group(policy)], learning_rate=1e-3)
    if world.kind == "serverless":
        monkeypatch.setattr("wandb.Api", WandbArtifacts)
    folder = await policy.fetch_adapter(1)
    assert (folder / "adapter_config.json").exists()
    assert load_file(folder / "adapter_model.safetensors")
    assert await policy.fetch_adapter(1) == folder


class WandbArtifacts:
    """W&B's artifacts, reached by a client of their own: an adapter for step 1."""

    def __init__(self, api_key: str) -> None:
        assert api_key

    def artifact(self, name: str, type: str) -> WandbArtifacts:  # noqa: A002 (its name there)
        assert name.startswith("team/")
        assert name.endswith(":step1")
        assert type == "lora"
        return self

    def download(self, root: str) -> None:
        import torch
        from safetensors.torch import save_file

        (Path(root) / "adapter_config.json").write_text("{}")
        save_file({"w": torch.ones(1)}, Path(root) / "adapter_model.safetensors")


async def test_it_starts_one_server(world: World, tmp_path: Path) -> None:
    def servers() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name == "policy-server"}

    before = servers()  # of other tests
    async with await world.open(tmp_path / "art"):
        assert len(servers() - before) == (0 if world.kind == "serverless" else 1)
    assert servers() <= before


async def test_closed_its_own_server_is_gone(world: World, tmp_path: Path) -> None:
    policy = await world.open(tmp_path / "art")
    await policy.close()
    await policy.close()
    if world.kind == "serverless":
        return  # the vendor's
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"{policy.endpoint.base_url}/models")


# What only one of them does


@pytest.fixture
def tinker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    yield from _tinker(monkeypatch, tmp_path)


@pytest.fixture
def serverless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    yield from _serverless(monkeypatch, tmp_path)


async def test_tinker_trains_on_the_sampled_tokens(tinker: World, tmp_path: Path) -> None:
    async with await tinker.open(tmp_path / "art") as policy:
        trained = await group(policy)
        await policy.train([trained], learning_rate=1e-3)
    trained_tokens = sorted(
        [
            *(i for chunk in datum["model_input"]["chunks"] for i in chunk["tokens"]),
            datum["loss_fn_inputs"]["target_tokens"]["data"][-1],
        ]
        for datum in tinker.vendor.trained_on[0]
    )
    choices = [trajectory.messages_and_choices[1].model_extra for trajectory in trained]
    assert trained_tokens == sorted(c["prompt_token_ids"] + c["token_ids"] for c in choices)


async def test_tinker_learns_as_the_embedded_backend_does(tinker: World, tmp_path: Path) -> None:
    """The same weights, tokens and loss give the same metrics."""
    metrics = []
    for world in (World("embedded", config()), tinker):
        async with await world.open(tmp_path / world.kind) as policy:
            metrics.append(await policy.train([await group(policy)], learning_rate=1e-3))
    ours, theirs = metrics
    for name in ("loss/train", "loss/probs_corr", "data/trained_tokens"):
        assert theirs[name] == pytest.approx(ours[name], abs=1e-4)


async def test_closed_tinkers_session_has_no_heartbeat(
    tinker: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tinker as vendor

    clients = []
    client = vendor.ServiceClient
    monkeypatch.setattr(vendor, "ServiceClient", lambda: clients.append(client()) or clients[-1])
    async with await tinker.open(tmp_path / "art"):
        (session,) = clients
        assert not session.holder._session_heartbeat_task.done()
    for _ in range(100):
        if session.holder._session_heartbeat_task.done():
            return
        await asyncio.sleep(0.02)
    pytest.fail("its heart still beats")


async def test_a_key_that_tinker_refuses_is_said_at_once(
    tinker: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TINKER_API_KEY", "tml-wrong")
    with pytest.raises(BackendError, match=r"Tinker refuses to train .*who are you"):
        await tinker.open(tmp_path / "art")


async def test_a_template_with_other_tool_calls_is_refused(
    tinker: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tokenizer = load_tokenizer(POCKET)
    tokenizer.chat_template = "{{ messages }}"
    monkeypatch.setattr("backends.chat_format.load_tokenizer", lambda _: tokenizer)
    with pytest.raises(BackendError, match="does not begin the model's turn"):
        await tinker.open(tmp_path / "art")


async def test_a_training_that_fails_at_wandb_is_an_error_and_no_step(
    serverless: World, tmp_path: Path
) -> None:
    async with await serverless.open(tmp_path / "art") as policy:
        serverless.vendor.fails = True
        with pytest.raises(RuntimeError, match="no GPU"):
            await policy.train([await group(policy)], learning_rate=1e-3)
        assert await policy.step() == 0


async def test_a_step_that_wandb_made_unnoticed_is_found_again(
    serverless: World, tmp_path: Path
) -> None:
    """Killed between W&B's training and the note of it."""
    async with await serverless.open(tmp_path / "art") as policy:
        await policy.train([await group(policy)], learning_rate=1e-3)
        serverless.vendor.steps["shop-clerk"].append(2)
        assert await policy.step() == 2
        assert policy.inference_name(2).endswith(":step2")


async def test_wandb_gets_the_conversation_with_its_logprobs(
    serverless: World, tmp_path: Path
) -> None:
    async with await serverless.open(tmp_path / "art") as policy:
        await policy.train([await group(policy)], learning_rate=1e-3, loss="ppo")
    (job,) = serverless.vendor.jobs
    assert (job["experimental_config"]["ppo"], job["experimental_config"]["learning_rate"]) == (
        True,
        1e-3,
    )
    trajectories = job["trajectory_groups"][0]["trajectories"]
    assert len(trajectories) == 4
    assert all(t["messages_and_choices"][1]["logprobs"]["content"] for t in trajectories)
