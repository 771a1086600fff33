"""Many executions at once, and nothing left of them however they, or those who wait, end."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from environment.code.sandbox.base import SandboxError, Status
from tests.environment.code.sandbox.conftest import LIMITS
from tests.environment.code.sandbox.traces import children, descriptors, processes_naming, until

ROOT = Path(__file__).parents[4]
FOREVER = "while True: pass"
SLEEP = "import time; time.sleep(99)"


async def test_fifty_at_once(open_sandbox, kind: str) -> None:
    sandbox = open_sandbox(kind, workers=4)
    programs = [
        f"import os; print({n}, os.listdir('.')); open('f', 'w').close()" for n in range(50)
    ]
    executions = await asyncio.gather(*(sandbox.run(program, {}) for program in programs))
    assert [e.stdout for e in executions] == [f"{n} []\n" for n in range(50)]
    assert max(e.queued_s for e in executions) > 0


async def test_more_places_than_the_socket_to_the_zygote_takes_messages(open_sandbox) -> None:
    sandbox = open_sandbox(workers=120)
    executions = await asyncio.gather(*(sandbox.run(f"print({n})", {}) for n in range(400)))
    assert [e.stdout for e in executions] == [f"{n}\n" for n in range(400)]


ORDINARY = """
import asyncio, ctypes, json, os, sys
from environment.code.sandbox.base import Limits
from environment.code.sandbox.isolated import IsolatedSandbox
from environment.code.sandbox.jail import kernel

async def main():
    sandbox = IsolatedSandbox(Limits(**json.loads(sys.argv[2])), 40, folder=sys.argv[1])
    executions = await asyncio.gather(*(sandbox.run(f"print({n})", {}) for n in range(80)))
    await sandbox.close()
    print(sum(e.stdout == f"{n}\\n" for n, e in enumerate(executions)))

if os.geteuid() == 0:
    PR_SET_SECUREBITS, SECBIT_NOROOT = 28, 1  # root's programs get no capabilities either
    assert ctypes.CDLL(None).prctl(PR_SET_SECUREBITS, SECBIT_NOROOT) == 0
    kernel.set_capabilities(permitted=0, effective=0)
asyncio.run(main())
"""


def test_an_ordinary_user_has_as_many_places(folder: Path) -> None:
    """Without root's capabilities, the kernel limits the descriptors on their way."""
    command = [sys.executable, "-c", ORDINARY, str(folder), LIMITS.model_dump_json()]
    ended = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.stdout == "80\n", ended.stderr


async def test_no_more_run_at_once_than_there_are_places(open_sandbox, folder: Path) -> None:
    """Each counts the folders of those that run with it: two, and two that are kept ready."""
    sandbox = open_sandbox(workers=2)
    program = """
import os, time
time.sleep(0.05)
here = int(os.path.basename(os.getcwd()))
print(sum(os.path.exists(f"../{n}") for n in range(here + 20)))
"""
    executions = await asyncio.gather(*(sandbox.run(program, {}) for _ in range(12)))
    assert max(int(e.stdout) for e in executions) <= 2 + 2 + 1  # one may be about to be removed


async def test_a_mixed_batch_leaves_no_trace(open_sandbox, kind: str, folder: Path) -> None:
    sandbox = open_sandbox(kind, workers=3, wall_s=2.0)
    await sandbox.run("", {})
    gc.collect()  # what other tests left must not go meanwhile
    before = len(descriptors())
    batch = [
        ("print(1)", Status.OK),
        ("1 / 0", Status.FAILED),
        (SLEEP, Status.TIMEOUT),
        ("x = bytearray(4 << 30)", Status.MEMORY),
        ("while True: print(1)", Status.OUTPUT),
        ("import os\nwhile True: os.mkdir('a'); os.chdir('a')", Status.FAILED),
        ("import os; [open(str(n), 'w') for n in range(20)]; os._exit(0)", Status.OK),
    ] * 3
    executions = await asyncio.gather(*(sandbox.run(program, {}) for program, _ in batch))
    assert [e.status for e in executions] == [status for _, status in batch]
    until(lambda: len(descriptors()) == before)
    if kind == "isolated":
        (home,) = folder.iterdir()
        # Only those that wait for the next programs are left.
        assert len(list(home.iterdir())) == 3
        assert len(processes_naming(str(folder))) == 1 + 3


async def test_a_cancelled_execution_is_ended(open_sandbox, folder: Path) -> None:
    sandbox = open_sandbox(workers=1)
    await sandbox.run("", {})
    task = asyncio.create_task(sandbox.run(FOREVER, {}))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # Its place is free again, and its process and folder are gone.
    assert (await sandbox.run("print(1)", {})).stdout == "1\n"
    assert len(processes_naming(str(folder))) == 1 + 1


async def test_cancelled_while_it_waits_for_a_place(open_sandbox) -> None:
    sandbox = open_sandbox(workers=1)
    running = asyncio.create_task(sandbox.run("import time; time.sleep(0.5)", {}))
    await asyncio.sleep(0.1)
    waiting = [asyncio.create_task(sandbox.run("print(1)", {})) for _ in range(3)]
    await asyncio.sleep(0.05)
    waiting[0].cancel()
    assert (await running).status is Status.OK
    assert [(await task).stdout for task in waiting[1:]] == ["1\n", "1\n"]


async def test_cancelled_while_the_sandbox_starts(open_sandbox) -> None:
    sandbox = open_sandbox()
    task = asyncio.create_task(sandbox.run("print(1)", {}))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await sandbox.run("print(1)", {})).stdout == "1\n"


async def test_closing_ends_what_runs(open_sandbox, kind: str) -> None:
    sandbox = open_sandbox(kind)
    tasks = [asyncio.create_task(sandbox.run(FOREVER, {})) for _ in range(5)]
    await asyncio.sleep(0.3)
    await sandbox.close()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [SandboxError] * 5
    with pytest.raises(SandboxError, match="closed"):
        await sandbox.run("", {})
    await sandbox.close()


async def test_time_goes_on_while_the_event_loop_is_busy(open_sandbox) -> None:
    """A training step may hold the loop for long; the limit is kept by the zygote."""
    sandbox = open_sandbox(wall_s=0.3, cpu_s=60)
    await sandbox.run("", {})
    task = asyncio.create_task(sandbox.run(FOREVER, {}))
    quick = asyncio.create_task(sandbox.run("print(1)", {}))
    await asyncio.sleep(0.05)
    time.sleep(1.0)  # noqa: ASYNC251 - what this test is about
    assert (await task).status is Status.TIMEOUT
    assert (await quick).stdout == "1\n"


async def test_a_killed_zygote_is_an_error_and_the_next_run_starts_another(
    open_sandbox, folder: Path
) -> None:
    sandbox = open_sandbox()
    await sandbox.run("", {})
    (zygote,) = set(children()) & set(processes_naming(str(folder)))
    task = asyncio.create_task(sandbox.run(FOREVER, {}))
    await asyncio.sleep(0.1)
    os.kill(zygote, signal.SIGKILL)
    with pytest.raises(SandboxError, match="zygote"):
        await task
    assert (await sandbox.run("print(1)", {})).stdout == "1\n"
    until(lambda: len(processes_naming(str(folder))) == 1 + 2)
    assert len(list(folder.iterdir())) == 1


async def test_a_sandbox_belongs_to_one_event_loop(open_sandbox) -> None:
    sandbox = open_sandbox()
    await sandbox.run("", {})

    def elsewhere() -> None:
        # Not asyncio.run: where ART was imported, its patched one leaves the loop open.
        with (
            closing(asyncio.new_event_loop()) as loop,
            pytest.raises(RuntimeError, match="event loop"),
        ):
            loop.run_until_complete(sandbox.run("", {}))

    await asyncio.to_thread(elsewhere)


PARENT = """
import asyncio, json, os, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup, under which the tests may run, has it ignored
from environment.code.sandbox.base import Limits
from environment.code.sandbox.isolated import IsolatedSandbox

async def main():
    limits = Limits(**json.loads(sys.argv[2]))
    sandbox = IsolatedSandbox(limits, 2, folder=sys.argv[1])
    await sandbox.start()
    tasks = [asyncio.create_task(sandbox.run("open('f', 'w').close()\\nwhile True: pass", {})) for _ in range(4)]
    await asyncio.sleep(0.2)
    if "fork" in sys.argv and os.fork() == 0:  # as multiprocessing does: it holds all descriptors
        await asyncio.sleep(60)
    print("up", flush=True)
    await asyncio.gather(*tasks)

asyncio.run(main())
"""


def parent(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Another process with a sandbox in which programs run."""
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(folder), LIMITS.model_dump_json(), *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    assert len(processes_naming(str(folder))) >= 5
    return process


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL", "SIGHUP"])
def test_nothing_outlives_its_parent(name: str, folder: Path) -> None:
    process = parent(folder)
    process.send_signal(getattr(signal, name))
    process.wait(30)
    until(lambda: not processes_naming(str(folder)))
    until(lambda: not list(folder.iterdir()))


def test_nor_one_whose_child_holds_its_descriptors(folder: Path) -> None:
    """The zygote sees that it became an orphan, though its socket has not closed."""
    process = parent(folder, "fork")
    process.kill()
    process.wait(30)
    until(lambda: not [p for p in processes_naming(str(folder)) if "jail" in command(p)])
    until(lambda: not list(folder.iterdir()))
    os.killpg(process.pid, signal.SIGKILL)
    until(lambda: not processes_naming(str(folder)))


def command(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


async def test_what_a_killed_pair_left_is_swept_by_the_next(folder: Path, open_sandbox) -> None:
    """Parent and zygote both killed: nobody is left to remove the folder but the next sandbox."""
    living = open_sandbox()
    await living.run("", {})
    (kept,) = folder.iterdir()
    process = parent(folder)
    process.send_signal(signal.SIGSTOP)
    theirs = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for zygote in theirs:
        os.kill(int(zygote), signal.SIGKILL)
    process.kill()
    process.wait(30)
    until(lambda: len(processes_naming(str(folder))) == 1 + 2)
    assert len(list(folder.iterdir())) == 2  # the litter, with a file of each program
    another = open_sandbox()
    await another.run("", {})
    assert kept in folder.iterdir()
    assert len(list(folder.iterdir())) == 2  # of two sandboxes that live


async def test_limits_that_differ(open_sandbox) -> None:
    small, large = open_sandbox(memory_mib=64), open_sandbox(memory_mib=512)
    program = "x = bytearray(200 << 20); print(1)"
    assert (await small.run(program, {})).status is Status.MEMORY
    assert (await large.run(program, {})).status is Status.OK


async def test_a_zygote_that_is_left_unheard_ends_quietly(
    open_sandbox, capfd: pytest.CaptureFixture[str]
) -> None:
    sandbox = open_sandbox(workers=4)
    await sandbox.start()
    time.sleep(0.5)  # noqa: ASYNC251 (what the zygote says of its other cells shall stay unread)
    await sandbox.close()
    assert capfd.readouterr().err == ""


async def test_the_kernel_ends_programs_first_where_memory_is_short(
    open_sandbox, folder: Path
) -> None:
    sandbox = open_sandbox(workers=1)
    running = asyncio.create_task(
        sandbox.run("import os\nprint(os.getpid(), flush=True)\n" + SLEEP, {})
    )
    await sandbox.start()
    (zygote,) = set(children()) & set(processes_naming(str(folder)))
    cells = Path(f"/proc/{zygote}/task/{zygote}/children").read_text().split()
    assert {Path(f"/proc/{pid}/oom_score_adj").read_text() for pid in cells} == {"1000\n"}
    running.cancel()
