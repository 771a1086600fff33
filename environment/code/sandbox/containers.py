"""Programs in containers that somebody else's service makes: each used once, some made ahead.

Calls of such services block and take seconds, so they run in threads. However an execution ends
(its result, an error, a cancelled rollout, ``close``), its container is destroyed.
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
from environment.code.sandbox.supervised import Report

# What starting a command in a container and reading its end may take, beside the program itself.
GRACE_S = 15.0
PROBE_S = 10.0
DESTROY_ATTEMPTS = 3
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has ended."""

    code: int
    stdout: str


class Container(Protocol):
    """One container. Its calls block, and raise only SandboxError."""

    def execute(self, command: Sequence[str], timeout_s: float) -> Ended | None:
        """Run a command; None if it did not end in time."""

    def destroy(self) -> None:
        """End it with all that runs in it; destroying what is gone already is no error."""


# Starts a container that shows the tags where its service can; blocks, raises only SandboxError.
Make = Callable[[Mapping[str, str]], Container]


class ContainerSandbox(Sandbox):
    """
    Args:
        name: of its kind.
        make: a container.
        workers: programs that run at once; the others wait.
        ahead: containers kept ready for the next programs. They carry the job's tags only.
        tags: of the job.
    """

    def __init__(
        self,
        name: str,
        make: Make,
        limits: Limits,
        workers: int,
        ahead: int = 0,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._limits, self._make, self._tags = limits, make, dict(tags or {})
        self._slots = asyncio.Semaphore(workers)
        # Apart, so that the end of a container never waits for a program that will not stop.
        self._threads = ThreadPoolExecutor(2 * workers + ahead, f"sandbox-{name}")
        self._destroyers = ThreadPoolExecutor(workers + ahead, f"sandbox-{name}-end")
        self._wanted_ahead = ahead
        self._ahead: deque[Future[Container]] = deque()
        self._alive: set[Future[Container]] = set()
        self._destroying: set[Future[None]] = set()
        self._closed = False

    async def run(self, program: str, tags: Mapping[str, str]) -> Execution:
        asked = time.monotonic()
        command = supervised.command(program, self._limits)
        if command is None:
            return Execution(Status.FAILED, None, "", _TOO_LONG, time.monotonic() - asked)
        with off_the_clock():
            await self._slots.acquire()
        try:
            queued_s = time.monotonic() - asked
            report = await self._run_once(command, tags)
        finally:
            self._slots.release()
        return Execution(
            report.status,
            report.exit_code,
            report.stdout,
            report.stderr,
            seconds=time.monotonic() - asked,
            queued_s=queued_s,
        )

    async def close(self) -> None:
        self._closed = True
        self._ahead.clear()
        for starting in list(self._alive):
            self._retire(starting)
        await asyncio.to_thread(futures.wait, list(self._destroying))
        self._threads.shutdown(wait=False)
        self._destroyers.shutdown(wait=False)

    async def _run_once(self, command: Sequence[str], tags: Mapping[str, str]) -> Report:
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
                # It may have stood for long: services end what is old, and restart.
                log.warning("%s: a container made ahead failed (%s); a new one", self.name, error)
        return await self._run_in(self._begin(tags), command)

    def _begin(self, tags: Mapping[str, str]) -> Future[Container]:
        starting = self._threads.submit(self._start, {**self._tags, **tags})
        self._alive.add(starting)
        return starting

    def _start(self, tags: Mapping[str, str]) -> Container:
        if self._closed:
            raise SandboxError(f"the sandbox {self.name} is closed")
        return self._make(tags)

    async def _run_in(self, starting: Future[Container], command: Sequence[str]) -> Report:
        try:
            container = await asyncio.wrap_future(starting)
            if self._closed:
                raise SandboxError(f"the sandbox {self.name} is closed")
            return await asyncio.wrap_future(
                self._threads.submit(self._execute, container, command)
            )
        finally:
            self._retire(starting)

    def _execute(self, container: Container, command: Sequence[str]) -> Report:
        ended = container.execute(command, self._limits.wall_s + GRACE_S)
        if ended is not None and (report := supervised.report_in(ended.stdout)):
            # One that the program forged may be longer than it may write.
            cap = self._limits.output_kib * 1024
            return replace(report, stdout=report.stdout[:cap], stderr=report.stderr[:cap])
        # The supervisor was stopped or killed: by the program, if the container is well.
        if ended is None or not 0 <= ended.code <= 128:
            probe = container.execute(supervised.PROBE, PROBE_S)
            if probe is not None and "alive" in probe.stdout:
                status = Status.TIMEOUT if ended is None else Status.FAILED
                return Report(status, None, "", "the program ended what watches over it")
        raise SandboxError(f"{self.name}: the container gave no result and is not well")

    def _retire(self, starting: Future[Container]) -> None:
        if starting not in self._alive:
            return
        self._alive.remove(starting)
        ending = self._destroyers.submit(self._destroy, starting)
        self._destroying.add(ending)
        ending.add_done_callback(self._destroying.discard)

    def _destroy(self, starting: Future[Container]) -> None:
        try:
            container = starting.result()  # a start under way cannot be taken back
        except (SandboxError, futures.CancelledError):
            return  # it never was; whoever waits for it is told
        for attempt in range(1, DESTROY_ATTEMPTS + 1):
            try:
                container.destroy()
            except SandboxError as error:
                log.warning("%s: a container is not destroyed yet: %s", self.name, error)
                time.sleep(attempt / 2)
            else:
                return
        log.error(
            "%s: a container was left behind (docs/sandboxes.md has how to end it)", self.name
        )


_TOO_LONG = f"the program has more than {supervised.MAX_COMMAND_BYTES} bytes, compressed"
