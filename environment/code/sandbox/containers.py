"""Programs in single-use containers of an external service, some started in advance.

Calls to such services block for seconds, so they run in threads. However an execution ends (result,
error, cancelled rollout, ``close``), its container is destroyed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

from environment.base import off_the_clock
from environment.code.sandbox import supervised
from environment.code.sandbox.base import Execution, Limits, Sandbox, SandboxError, Status

# Overhead of starting a command in a container and reading its result.
GRACE_S = 15.0
PROBE_S = 10.0
DESTROY_ATTEMPTS = 3
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ended:
    """The result of a command."""

    code: int
    stdout: str


class Container(Protocol):
    """One container. Its methods block, and raise only SandboxError."""

    def execute(self, command: Sequence[str], timeout_s: float) -> Ended | None:
        """Run a command; None on timeout."""

    def destroy(self) -> None:
        """Destroy the container; no error if it is already gone."""


# Starts a container with the given tags; blocks, and raises only SandboxError.
Make = Callable[[Mapping[str, str]], Container]


class ContainerSandbox(Sandbox):
    """
    Args:
        name: the kind of sandbox.
        make: starts a container.
        workers: concurrent programs; others queue.
        ahead: containers to start in advance, without tags.
    """

    def __init__(self, name: str, make: Make, limits: Limits, workers: int, ahead: int = 0) -> None:
        self.name = name
        self._limits, self._make = limits, make
        self._slots = asyncio.Semaphore(workers)
        # Separate pools, so that destroying a container never waits for a program that hangs.
        self._threads = ThreadPoolExecutor(2 * workers + ahead, f"sandbox-{name}")
        self._destroyers = ThreadPoolExecutor(workers + ahead, f"sandbox-{name}-end")
        self._wanted_ahead = ahead
        self._ahead: deque[Future[Container]] = deque()
        self._alive: set[Future[Container]] = set()
        self._destroying: set[Future[None]] = set()
        self._closed = False

    async def run(self, program: str, tags: Mapping[str, str]) -> Execution:
        start = time.monotonic()
        command = supervised.command(program, self._limits)
        if command is None:
            return Execution(Status.FAILED, None, "", _TOO_LONG, time.monotonic() - start)
        with off_the_clock():
            await self._slots.acquire()
        try:
            queued_s = time.monotonic() - start
            execution = await self._run_once(command, tags)
        finally:
            self._slots.release()
        return replace(execution, seconds=time.monotonic() - start, queued_s=queued_s)

    async def close(self) -> None:
        self._closed = True
        self._ahead.clear()
        for starting in list(self._alive):
            self._retire(starting)
        await asyncio.to_thread(futures.wait, list(self._destroying))
        self._threads.shutdown(wait=False)
        self._destroyers.shutdown(wait=False)

    async def _run_once(self, command: Sequence[str], tags: Mapping[str, str]) -> Execution:
        if self._closed:
            raise SandboxError(f"the sandbox {self.name} is closed")
        ready = self._ahead.popleft() if self._ahead else None
        while len(self._ahead) < self._wanted_ahead:
            self._ahead.append(self._begin({}))
        if ready is not None:
            try:
                return await self._run_in(ready, command)
            except SandboxError as error:
                if self._closed:
                    raise
                # It may be old: services expire containers, and restart.
                log.warning("%s: replacing a pre-started container: %s", self.name, error)
        return await self._run_in(self._begin(tags), command)

    def _begin(self, tags: Mapping[str, str]) -> Future[Container]:
        starting = self._threads.submit(self._start, tags)
        self._alive.add(starting)
        return starting

    def _start(self, tags: Mapping[str, str]) -> Container:
        if self._closed:
            raise SandboxError(f"the sandbox {self.name} is closed")
        return self._make(tags)

    async def _run_in(self, starting: Future[Container], command: Sequence[str]) -> Execution:
        try:
            container = await asyncio.wrap_future(starting)
            if self._closed:
                raise SandboxError(f"the sandbox {self.name} is closed")
            return await asyncio.wrap_future(
                self._threads.submit(self._execute, container, command)
            )
        finally:
            self._retire(starting)

    def _execute(self, container: Container, command: Sequence[str]) -> Execution:
        ended = container.execute(command, self._limits.wall_s + GRACE_S)
        if ended is not None and (report := supervised.report_in(ended.stdout)):
            # A report forged by the program may exceed the output limit.
            cap = self._limits.output_kib * 1024
            return replace(report, stdout=report.stdout[:cap], stderr=report.stderr[:cap])
        # The supervisor was stopped or killed: by the program, if the container is healthy.
        if ended is None or not 0 <= ended.code <= 128:
            probe = container.execute(supervised.PROBE, PROBE_S)
            if probe is not None and "alive" in probe.stdout:
                status = Status.TIMEOUT if ended is None else Status.FAILED
                return Execution(status, None, "", "the program ended what watches over it")
        raise SandboxError(f"{self.name}: the container returned no result and is unhealthy")

    def _retire(self, starting: Future[Container]) -> None:
        if starting not in self._alive:
            return
        self._alive.remove(starting)
        ending = self._destroyers.submit(self._destroy, starting)
        self._destroying.add(ending)
        ending.add_done_callback(self._destroying.discard)

    def _destroy(self, starting: Future[Container]) -> None:
        try:
            container = starting.result()  # a start in progress cannot be cancelled
        except (SandboxError, futures.CancelledError):
            return  # never started; its waiter gets the error
        for attempt in range(1, DESTROY_ATTEMPTS + 1):
            try:
                container.destroy()
            except SandboxError as error:
                log.warning("%s: could not destroy a container: %s", self.name, error)
                time.sleep(attempt / 2)
            else:
                return
        log.error(
            "%s: a container was left behind (see docs/sandboxes.md for how to remove it)",
            self.name,
        )


_TOO_LONG = f"the program has more than {supervised.MAX_COMMAND_BYTES} bytes, compressed"
