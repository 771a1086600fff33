"""A sampling engine for the policy server that samples at Tinker."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import tinker

from backends.chat_format import ChatFormat
from backends.errors import BackendError
from backends.sampling import NoSuchCheckpoint, Sample, SampleRequest, SamplerStats


@dataclass(slots=True)
class RemotePolicy:
    """What is known locally about a remote policy."""

    chat: ChatFormat
    max_tokens: int
    step: int


class TinkerEngine:
    """
    Args:
        weights: addresses of the sampler weights by step; shared with the trainer.

    Attributes:
        client: Tinker's client, once connected.
    """

    def __init__(self, policy: RemotePolicy, weights: dict[int, str]) -> None:
        self.policy = policy
        self.client: Any = None
        self._weights = weights
        self._samplers: dict[str, Any] = {}
        self._stats = SamplerStats()

    def submit(self, step: int, request: SampleRequest) -> Future[Sample]:
        """Sample a completion from the checkpoint of ``step``."""
        done: Future[Sample] = Future()
        if step not in self._weights:
            done.set_exception(NoSuchCheckpoint(f"there is no checkpoint of step {step}"))
            return done
        end_ids = self.policy.chat.end_ids
        sampling = self.sampler(step).sample(
            prompt=tinker.ModelInput.from_ints(request.prompt_ids),
            num_samples=1,
            sampling_params=tinker.SamplingParams(
                max_tokens=request.max_tokens,
                temperature=request.temperature,
                seed=request.seed % 2**31,
                stop=list(end_ids),
            ),
        )

        def finish(sampled: Future[Any]) -> None:
            if error := sampled.exception():
                done.set_exception(BackendError(f"Tinker could not sample: {error}"))
                return
            (sequence,) = sampled.result().sequences
            tokens, logprobs = list(sequence.tokens), list(sequence.logprobs or [])
            self._count(request, tokens)
            done.set_result(Sample(tokens, logprobs, ended=bool(tokens) and tokens[-1] in end_ids))

        sampling.add_done_callback(finish)
        return done

    def sampler(self, step: int) -> Any:
        """Tinker's client for a checkpoint; the first call loads it there."""
        path = self._weights[step]
        if path not in self._samplers:
            self._samplers[path] = self.client.create_sampling_client(model_path=path)
        return self._samplers[path]

    def stats(self) -> SamplerStats:
        return self._stats

    def _count(self, request: SampleRequest, tokens: list[int]) -> None:
        self._stats.requests += 1
        self._stats.prompt_tokens += len(request.prompt_ids)
        self._stats.sampled_tokens += len(tokens)
