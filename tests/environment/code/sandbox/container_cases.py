"""What holds of every sandbox whose programs run in containers of a service."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from environment.code.sandbox import containers
from environment.code.sandbox.base import Limits, SandboxError, Status
from environment.code.sandbox.containers import ContainerSandbox

# The stand-ins run programs as this user, all of whose threads RLIMIT_NPROC counts unless it is root.
THREADS = 4096 if os.geteuid() else 16
LIMITS = Limits(wall_s=3, cpu_s=1, memory_mib=128, output_kib=4, files_mib=1, threads=THREADS)
Open = Callable[..., ContainerSandbox]

ENDINGS = {
    "result": ("print(6 * 7)", Status.OK, 0),
    "exit": ("import sys; print('so'); sys.exit(3)", Status.FAILED, 3),
    "exception": ("raise ValueError('bad')", Status.FAILED, 1),
    "syntax": ("def f(:", Status.FAILED, 1),
    "no_utf8": ("x = '\ud800'", Status.FAILED, 1),
    "signal": ("import os; os.kill(os.getpid(), 9)", Status.FAILED, -9),
    "loop": ("while True: pass", Status.TIMEOUT, None),
    "sleep": ("import time; time.sleep(60)", Status.TIMEOUT, None),
    "memory": ("x = bytearray(10 ** 9)", Status.MEMORY, 1),
    "endless_output": ("while True: print('x' * 100)", Status.OUTPUT, None),
    "endless_errors": (
        "import sys\nwhile True: sys.stderr.write('x' * 100)",
        Status.OUTPUT,
        None,
    ),
    "big_file": ("open('f', 'wb').write(bytes(2 ** 22))", Status.FAILED, 1),
    "daemon": (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(60)\nprint('left')",
        Status.OK,
        0,
    ),
}


class ContainerCases:
    """A subclass gives the fixtures ``service`` (a fake with ``containers``, ``created``,
    ``executed``, ``refuses``, ``loses`` and ``stop``) and ``open_sandbox``."""

    @pytest.fixture
    async def sandbox(self, open_sandbox: Open) -> AsyncIterator[ContainerSandbox]:
        opened = open_sandbox(LIMITS, 2)
        yield opened
        await opened.close()

    @pytest.mark.parametrize("case", ENDINGS)
    async def test_an_ending(self, sandbox: ContainerSandbox, service: Any, case: str) -> None:
        program, status, code = ENDINGS[case]
        ended = await sandbox.run(program, {})
        assert (ended.status, ended.exit_code) == (status, code), ended
        await sandbox.close()
        assert not service.containers

    async def test_output_is_told_apart_and_kept_whole(self, sandbox: ContainerSandbox) -> None:
        program = "import sys\nprint('é\\r\\x0b\\u2028end', end='')\nprint('why', file=sys.stderr)"
        ended = await sandbox.run(program, {})
        assert (ended.stdout, ended.stderr) == ("é\r\x0b\u2028end", "why\n")

    async def test_output_is_cut(self, sandbox: ContainerSandbox) -> None:
        ended = await sandbox.run("print('x' * 100_000)", {})
        assert ended.status is Status.OUTPUT
        assert ended.stdout == "x" * LIMITS.output_kib * 1024

    async def test_a_program_reaches_a_shell_nowhere(self, sandbox: ContainerSandbox) -> None:
        text = "' \" $(touch /tmp/x) `id` \\ \n ; & |"
        ended = await sandbox.run(f"print({text!r}, end='')", {})
        assert ended.stdout == text

    async def test_a_program_starts_from_nothing(self, sandbox: ContainerSandbox) -> None:
        program = (
            "import os, sys\nopen('mine', 'w').close()\n"
            "print(os.listdir('.'), sys.stdin.read(), sorted(os.environ), __name__)"
        )
        for _ in range(2):
            ended = await sandbox.run(program, {})
            assert ended.stdout == "['mine']  ['LC_CTYPE', 'PYTHONHASHSEED'] __main__\n"

    async def test_every_program_has_a_container_of_its_own(
        self, sandbox: ContainerSandbox, service: Any
    ) -> None:
        ended = await asyncio.gather(*(sandbox.run(f"print({n})", {}) for n in range(7)))
        assert [one.stdout for one in ended] == [f"{n}\n" for n in range(7)]
        assert len(service.created) >= 7
        await sandbox.close()
        assert not service.containers

    async def test_only_so_many_run_at_once(self, open_sandbox: Open, service: Any) -> None:
        one_by_one = open_sandbox(LIMITS, 1)
        first, second = await asyncio.gather(
            one_by_one.run("import time; time.sleep(0.5)", {}), one_by_one.run("", {})
        )
        assert first.queued_s < second.queued_s < second.seconds
        await one_by_one.close()

    async def test_a_long_program_is_refused_as_its_own_fault(
        self, sandbox: ContainerSandbox, service: Any
    ) -> None:
        noise = "".join(chr(0x4E00 + (n * 7919) % 20_000) for n in range(60_000))
        ended = await sandbox.run(f"x = {noise!r}", {})
        assert ended.status is Status.FAILED
        assert "compressed" in ended.stderr
        assert not service.created

    async def test_a_service_that_starts_nothing_is_to_blame(
        self, sandbox: ContainerSandbox, service: Any
    ) -> None:
        service.refuses = True
        with pytest.raises(SandboxError):
            await sandbox.run("print(1)", {})
        service.refuses = False
        assert (await sandbox.run("print(1)", {})).status is Status.OK

    async def test_a_service_that_fails_midway_is_to_blame(
        self, sandbox: ContainerSandbox, service: Any
    ) -> None:
        service.loses = True
        with pytest.raises(SandboxError):
            await sandbox.run("print(1)", {})
        await sandbox.close()
        assert not service.containers

    async def test_a_container_that_is_gone_is_to_blame(
        self, sandbox: ContainerSandbox, service: Any
    ) -> None:
        running = asyncio.create_task(sandbox.run("import time; time.sleep(60)", {}))
        await asyncio.to_thread(service.executed.wait, 10)
        for container in list(service.containers.values()):
            service.containers.pop(container.id).remove()
        with pytest.raises(SandboxError):
            await running

    async def test_a_service_that_goes_is_to_blame(
        self, sandbox: ContainerSandbox, service: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(containers, "DESTROY_ATTEMPTS", 1)
        await sandbox.run("print(1)", {})
        service.stop()
        with pytest.raises(SandboxError):
            await sandbox.run("print(1)", {})

    async def test_a_cancelled_run_leaves_nothing(
        self, sandbox: ContainerSandbox, service: Any
    ) -> None:
        running = asyncio.create_task(sandbox.run("import time; time.sleep(60)", {}))
        await asyncio.to_thread(service.executed.wait, 10)
        executing = [c for c in service.containers.values() if c.processes]
        assert executing
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await sandbox.close()
        assert not service.containers
        assert not any(container.inside() for container in executing)

    async def test_one_that_is_cancelled_while_it_starts_leaves_nothing(
        self, sandbox: ContainerSandbox, service: Any
    ) -> None:
        running = asyncio.create_task(sandbox.run("print(1)", {}))
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await sandbox.close()
        assert not service.containers

    async def test_closing_ends_what_runs(self, sandbox: ContainerSandbox, service: Any) -> None:
        running = asyncio.create_task(sandbox.run("import time; time.sleep(60)", {}))
        waiting = [asyncio.create_task(sandbox.run("print(1)", {})) for _ in range(4)]
        await asyncio.to_thread(service.executed.wait, 10)
        await sandbox.close()
        assert not service.containers
        ended = await asyncio.gather(running, *waiting, return_exceptions=True)
        assert isinstance(ended[0], SandboxError)
        with pytest.raises(SandboxError, match="closed"):
            await sandbox.run("print(1)", {})

    def test_it_closes_on_another_loop(self, open_sandbox: Open, service: Any) -> None:
        opened = open_sandbox(LIMITS, 2)
        assert asyncio.run(opened.run("print(1)", {})).status is Status.OK
        asyncio.run(opened.close())
        assert not service.containers

    def test_no_threads_are_left(self, open_sandbox: Open) -> None:
        async def use() -> None:
            opened = open_sandbox(LIMITS, 2)
            await opened.run("print(1)", {})
            await opened.close()

        asyncio.run(use())
        gc.collect()
        until = time.monotonic() + 10
        while ours := [t.name for t in threading.enumerate() if t.name.startswith("sandbox-")]:
            assert time.monotonic() < until, ours
            time.sleep(0.01)

    async def test_the_end_of_its_watch_is_the_programs_own_fault(
        self, sandbox: ContainerSandbox, service: Any
    ) -> None:
        killed = asyncio.create_task(sandbox.run("import time; time.sleep(60)", {}))
        await asyncio.to_thread(service.executed.wait, 10)
        (container,) = (c for c in service.containers.values() if c.processes)
        while not any(b"program.py" in command for command in container.inside().values()):
            time.sleep(0.01)  # noqa: ASYNC251 (nothing else needs this loop until then)
        # As a program could, where it runs as the same user.
        for pid, command in container.inside().items():
            if b"zlib" in command:
                os.kill(pid, signal.SIGKILL)
        ended = await killed
        assert (ended.status, ended.exit_code) == (Status.FAILED, None)
