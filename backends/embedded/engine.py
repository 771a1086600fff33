"""The compute thread: samples for all waiting requests, and trains in between.

Requests of a turn tend to arrive together, and a batch costs little more than a single request. So
the engine waits for a burst to complete: until as many requests are waiting as in the last burst, or
none has arrived for ``_QUIET_S``. A lone client never waits, as its bursts have size one.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from backends.embedded.policy import Policy
from backends.embedded.sampler import Sampler
from backends.embedded.self_check import check_sampler
from backends.errors import BackendError
from backends.sampling import NoSuchCheckpoint, Sample, SampleRequest, SamplerStats

log = logging.getLogger(__name__)

T = TypeVar("T")
_QUIET_S = 0.008
_MAX_BATCH = 64


@dataclass(slots=True)
class _Waiting:
    step: int
    request: SampleRequest
    future: Future[Sample]


@dataclass(slots=True)
class _Work:
    """A function to run while nothing is being sampled."""

    run: Callable[[], object]
    future: Future[object] = field(default_factory=Future)


class Engine:
    """Owns the policy; everything that touches its weights runs on the engine's thread.

    Raises:
        BackendError: the sampler cannot compute this model.
    """

    def __init__(self, policy: Policy, max_batch: int = _MAX_BATCH) -> None:
        check_sampler(policy)
        self.policy = policy
        self._max_batch = max_batch
        self._inbox: queue.SimpleQueue[_Waiting | _Work | None] = queue.SimpleQueue()
        self._waiting: list[_Waiting] = []
        self._work: list[_Work] = []
        self._samplers: dict[int, Sampler] = {}
        self._futures: dict[int, tuple[Sampler, Future[Sample]]] = {}
        self._last_arrival = 0.0
        self._burst = 1
        self._stopping = False
        self._stopped = threading.Event()
        self._retired = SamplerStats()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, step: int, request: SampleRequest) -> Future[Sample]:
        """Sample a completion from the checkpoint of ``step``."""
        waiting = _Waiting(step, request, Future())
        self._put(waiting)
        return waiting.future

    def call(self, run: Callable[[], T]) -> Future[T]:
        """Run a function on the engine's thread once no request is being sampled."""
        work = _Work(run)
        self._put(work)
        return work.future  # type: ignore[return-value]

    def _put(self, item: _Waiting | _Work) -> None:
        self._inbox.put(item)
        if self._stopped.is_set():
            self._fail_inbox()

    def weights_changed(self) -> None:
        """Drop the samplers and caches of old weights. Call on the engine's thread only."""
        for sampler in self._samplers.values():
            _add(self._retired, sampler.stats)
        self._samplers.clear()

    def stats(self) -> SamplerStats:
        total = SamplerStats()
        for stats in (self._retired, *(s.stats for s in list(self._samplers.values()))):
            _add(total, stats)
        return total

    def stop(self) -> None:
        """End the thread; running, waiting and later requests fail."""
        self._inbox.put(None)
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            self._receive(block=not self._busy)
            if self._stopping:
                break
            if not self._futures and self._work:
                self._do(self._work.pop(0))
            if self._waiting and not self._work and self._burst_is_in():
                self._admit()
            for sampler in self._samplers.values():
                if sampler.active:
                    self._guard(sampler, sampler.step)
        pending: list[Future[Any]] = [future for _, future in self._futures.values()]
        pending += [item.future for item in self._waiting] + [item.future for item in self._work]
        for future in pending:
            future.set_exception(_stopped_error())
        self._stopped.set()
        self._fail_inbox()

    def _fail_inbox(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                item = self._inbox.get_nowait()
                if item is not None and item.future.set_running_or_notify_cancel():
                    item.future.set_exception(_stopped_error())

    @property
    def _busy(self) -> bool:
        return bool(self._futures or self._waiting or self._work)

    def _receive(self, block: bool) -> None:
        """Drain the inbox; with ``block``, wait for an item first."""
        timeout = _QUIET_S if self._waiting and not self._futures else None
        while True:
            try:
                item = (
                    self._inbox.get(timeout=timeout)
                    if block or timeout
                    else self._inbox.get_nowait()
                )
            except queue.Empty:
                return
            block, timeout = False, None
            if item is None:
                self._stopping = True
                return
            if not item.future.set_running_or_notify_cancel():
                continue  # the client is gone; from here on the future cannot be cancelled
            if isinstance(item, _Work):
                self._work.append(item)
            else:
                self._waiting.append(item)
                self._last_arrival = time.monotonic()

    def _burst_is_in(self) -> bool:
        quiet = time.monotonic() - self._last_arrival >= _QUIET_S
        return quiet or len(self._waiting) >= self._burst

    def _admit(self) -> None:
        room = self._max_batch - len(self._futures)
        batch, self._waiting = self._waiting[:room], self._waiting[room:]
        if not self._futures:
            self._burst = len(batch)
        by_step: dict[int, list[_Waiting]] = {}
        for item in batch:
            by_step.setdefault(item.step, []).append(item)
        for step, items in by_step.items():
            try:
                sampler = self._sampler(step)
            except (NoSuchCheckpoint, BackendError) as error:
                for item in items:
                    item.future.set_exception(error)
                continue
            requests = [item.request for item in items]
            self._futures |= {id(item.request): (sampler, item.future) for item in items}
            self._guard(sampler, lambda s=sampler, r=requests: s.admit(r))  # type: ignore[misc]

    def _sampler(self, step: int) -> Sampler:
        if step not in self._samplers:
            try:
                model = self.policy.sampling_model(step)
            except KeyError as error:
                raise NoSuchCheckpoint(f"no checkpoint of step {step}") from error
            # A policy keeps few sampling copies; an idle sampler would keep an evicted one alive.
            idle = [s for s, sampler in self._samplers.items() if not sampler.active]
            for old in idle[: max(0, len(self._samplers) - 1)]:
                _add(self._retired, self._samplers.pop(old).stats)
            self._samplers[step] = Sampler(
                model, self.policy.end_ids, vocabulary=self.policy.vocabulary
            )
        return self._samplers[step]

    def _guard(
        self, sampler: Sampler, run: Callable[[], list[tuple[SampleRequest, Sample]]]
    ) -> None:
        """Resolve finished requests; if sampling fails, fail its requests and continue."""
        try:
            finished = run()
        except Exception as error:
            log.exception("sampling failed")
            sampler.abort()
            mine = [key for key, (owner, _) in self._futures.items() if owner is sampler]
            for key in mine:
                self._futures.pop(key)[1].set_exception(error)
            return
        for request, sample in finished:
            self._futures.pop(id(request))[1].set_result(sample)

    def _do(self, work: _Work) -> None:
        try:
            work.future.set_result(work.run())
        except BaseException as error:  # noqa: BLE001 (re-raised by result())
            work.future.set_exception(error)


def _stopped_error() -> RuntimeError:
    return RuntimeError("the model server has stopped")


def _add(total: SamplerStats, part: SamplerStats) -> None:
    for name in SamplerStats.__dataclass_fields__:
        setattr(total, name, getattr(total, name) + getattr(part, name))
