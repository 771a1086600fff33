"""The pocket policy at work: prompts, samples, and trajectories made of them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import art
import torch
from openai.types.chat.chat_completion import Choice
from peft.tuners.lora import LoraLayer

from backends.config import BackendConfig, LoraConfig
from backends.embedded.model_service import EmbeddedService
from backends.embedded.policy import Policy
from backends.embedded.sampler import Sampler
from backends.sampling import Sample, SampleRequest

POCKET = str(Path(__file__).parents[2] / "models" / "pocket")
SYSTEM = "You answer questions about the mails in one person's inbox."
QUESTIONS = (
    "What is the pager number of Bob Miller?",
    "Hi",
    "Which hotel does Ann Lee stay at in Denver, and until when? She comes back on Friday.",
    "When does the flight of Carla Jones leave Houston?",
    "Who leads the team?",
    "How much did the contract with Northern Pipes cost us in the end, after all the changes?",
)
TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "search_inbox_tool",
            "description": "Search the inbox for mails by keywords; newest first.",
            "parameters": {"type": "object", "properties": {"keywords": {"type": "array"}}},
        },
    }
]


def config(**changes: Any) -> BackendConfig:
    return BackendConfig(
        **{"kind": "embedded", "base_model": POCKET, "device": "cpu", "lora": LoraConfig()}
        | changes
    )


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Served:
    """A policy served on loopback under the name ``pocket``."""

    service: EmbeddedService
    base_url: str

    @property
    def policy(self) -> Policy:
        return self.service.engine.policy


def serve(folder: Path, api_key: str | None = None, **changes: Any) -> Served:
    service = EmbeddedService("pocket", config(**changes), folder, 0)
    arguments: dict[str, Any] = {"port": free_port()} | ({"api_key": api_key} if api_key else {})
    host, port = asyncio.run(service.start_openai_server({"server_args": arguments}))
    return Served(service, f"http://{host}:{port}/v1")


def prompt_of(policy: Policy, question: str) -> list[int]:
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]
    return policy.tokenizer.apply_chat_template(
        messages, tools=TOOLS, add_generation_prompt=True, return_dict=False
    )


def sample(sampler: Sampler, requests: Sequence[SampleRequest]) -> list[Sample]:
    """Sample all requests in one batch."""
    done = {id(request): each for request, each in sampler.admit(requests)}
    while sampler.active:
        done |= {id(request): each for request, each in sampler.step()}
    return [done[id(request)] for request in requests]


def shake(policy: Policy, seed: int = 1) -> None:
    """Give the adapter, whose effect is nothing at first, some effect."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in policy.trained.modules():
            if isinstance(module, LoraLayer):
                weight = module.lora_B["default"].weight
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.01)


def logprobs_of(model: Any, ids: Sequence[int], temperature: float = 1.0) -> torch.Tensor:
    """The log-probability of each token but the first, by one full forward pass."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([list(ids)])).logits[0, :-1]
    logprobs = torch.log_softmax(logits / temperature, dim=-1)
    return logprobs.gather(1, torch.tensor(list(ids[1:]))[:, None])[:, 0]


def choice(
    prompt_ids: Sequence[int] | None,
    token_ids: Sequence[int] | None,
    logprobs: Sequence[float] | None = None,
) -> Choice:
    """A sampled turn as the server reports it."""
    body: dict[str, Any] = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": "text that the packing must not look at"},
        "prompt_token_ids": prompt_ids,
        "token_ids": token_ids,
    }
    if logprobs is None and token_ids is not None:
        logprobs = [-0.5] * len(token_ids)
    if logprobs is not None:
        entries = [{"token": "t", "logprob": value, "top_logprobs": []} for value in logprobs]
        body["logprobs"] = {"content": entries}
    return Choice.model_validate(body)


def trajectory(reward: float, *choices: Choice) -> art.Trajectory:
    turns: list[Any] = [{"role": "user", "content": "hi"}]
    for turn in choices:
        turns += [turn, {"role": "user", "content": "and then?"}]
    return art.Trajectory(messages_and_choices=turns, reward=reward)


def sampled_groups(
    policy: Policy,
    questions: Sequence[str] = QUESTIONS[:3],
    size: int = 4,
    step: int | None = None,
    max_tokens: int = 12,
) -> list[art.TrajectoryGroup]:
    """Groups of two-turn conversations, sampled at temperature 1; every other one is rewarded."""
    sampler = Sampler(policy.sampling_model(policy.step if step is None else step), policy.end_ids)
    groups = []
    for number, question in enumerate(questions):
        first = [
            SampleRequest(prompt_of(policy, question), max_tokens, 1.0, 100 * number + each)
            for each in range(size)
        ]
        turns = [list(zip(first, sample(sampler, first), strict=True))]
        second = [
            SampleRequest(
                request.prompt_ids + drawn.token_ids + prompt_of(policy, "Go on.")[-9:],
                max_tokens,
                1.0,
                request.seed + 50,
            )
            for request, drawn in turns[0]
        ]
        turns.append(list(zip(second, sample(sampler, second), strict=True)))
        groups.append(
            art.TrajectoryGroup(
                trajectory(
                    float(each % 2),
                    *(
                        choice(
                            turn[each][0].prompt_ids,
                            turn[each][1].token_ids,
                            turn[each][1].logprobs,
                        )
                        for turn in turns
                    ),
                )
                for each in range(size)
            )
        )
    return groups
