"""The policy server's interface to a sampling engine, local or remote."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from backends.chat_format import ChatFormat


class NoSuchCheckpoint(LookupError):
    """The requested step has no checkpoint."""


@dataclass(slots=True)
class SampleRequest:
    """One completion to sample. ``temperature`` 0 is greedy."""

    prompt_ids: list[int]
    max_tokens: int
    temperature: float = 1.0
    seed: int = 0


@dataclass(slots=True)
class Sample:
    """A completion: its token ids, their log-probabilities, and whether it ended with an
    end-of-turn token."""

    token_ids: list[int]
    logprobs: list[float]
    ended: bool


@dataclass(slots=True)
class SamplerStats:
    """Totals since the start; times in seconds."""

    requests: int = 0
    prompt_tokens: int = 0
    prefilled_tokens: int = 0
    sampled_tokens: int = 0
    prefill_s: float = 0.0
    decode_s: float = 0.0


class SampledPolicy(Protocol):
    """What the server needs to know about the policy."""

    chat: ChatFormat

    @property
    def max_tokens(self) -> int:
        """The longest conversation."""

    @property
    def step(self) -> int:
        """The newest checkpoint's step."""


class SamplingEngine(Protocol):
    @property
    def policy(self) -> SampledPolicy: ...

    def submit(self, step: int, request: SampleRequest) -> Future[Sample]:
        """Sample from the checkpoint of ``step``; fails with ``NoSuchCheckpoint``."""

    def stats(self) -> SamplerStats: ...
