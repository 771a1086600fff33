"""A program takes no more than its limits, of anything."""

from __future__ import annotations

import pytest

from environment.code.sandbox.base import Sandbox, Status
from tests.environment.code.sandbox.conftest import LIMITS

pytestmark = pytest.mark.asyncio(loop_scope="session")

MIB = 1 << 20

MEMORY = {
    "4 GB at once": "x = bytearray(4 << 30)",
    "4 GB bit by bit": "x = []\nwhile True:\n    x.append(bytearray(1 << 20))",
    "a long list": "x = [0]\nwhile True:\n    x += x",
    "a long text": "x = 'x'\nwhile True:\n    x += x",
    "a huge integer": "x = 1 << (1 << 33)",
    "an anonymous mapping": "import mmap\ntry:\n    x = mmap.mmap(-1, 4 << 30)\nexcept OSError as e:\n    raise MemoryError(e)",
    "held by a thread": (
        "import threading\ndef f():\n    x.append(bytearray(4 << 30))\nx = []\n"
        "t = threading.Thread(target=f); t.start(); t.join(); f()"
    ),
    "nested lists": "x = []\nwhile True:\n    x = [x, bytearray(1 << 16)]",
}


@pytest.mark.parametrize("how", MEMORY)
async def test_memory(how: str, sandbox: Sandbox) -> None:
    execution = await sandbox.run(MEMORY[how], {})
    assert (execution.status, execution.exit_code) == (Status.MEMORY, 1), execution.stderr


async def test_half_of_the_memory_may_be_used(sandbox: Sandbox) -> None:
    """The limit is the program's alone: what the interpreter takes does not count."""
    half = LIMITS.memory_mib // 2
    execution = await sandbox.run(f"x = bytearray({half} << 20); print(len(x) >> 20)", {})
    assert execution.stdout == f"{half}\n"


DISK = {
    "one large file": "f = open('a', 'wb')\nwhile True:\n    f.write(bytes(1 << 16))",
    "many files": (
        "import itertools\nfor n in itertools.count():\n    open(str(n), 'wb').write(bytes(1 << 16))"
    ),
    "many open files": (
        "fs = [open(str(n), 'wb', 0) for n in range(20)]\nwhile True:\n"
        "    for f in fs:\n        f.write(bytes(1 << 16))"
    ),
    "removed files": (
        "import os, itertools\nfs = []\nfor n in itertools.count():\n"
        "    fs.append(open('a', 'wb', 0)); os.unlink('a'); fs[-1].write(bytes(1 << 18))"
    ),
    "empty files": "import itertools\nfor n in itertools.count():\n    open(str(n), 'w').close()",
    "folders": "import itertools, os\nfor n in itertools.count():\n    os.mkdir(str(n))",
    "nested folders": "import os\nwhile True:\n    os.mkdir('a'); os.chdir('a')",
    "single bytes far apart": (
        "import os\nd = os.open('a', os.O_RDWR | os.O_CREAT)\nfor n in range(1 << 20):\n"
        "    os.pwrite(d, b'x', n * 4096 % (4 << 20))"
    ),
    "a temporary file without a name": (
        "import tempfile\nf = tempfile.TemporaryFile(buffering=0)\nwhile True:\n"
        "    f.write(bytes(1 << 16))"
    ),
    "through a copy": (
        "import shutil, itertools\nopen('a', 'wb').write(bytes(1 << 20))\n"
        "for n in itertools.count():\n    shutil.copyfile('a', str(n))"
    ),
    "by threads": (
        "import threading\ndef f(n):\n    with open(n, 'wb', 0) as file:\n        while True:\n"
        "            file.write(bytes(1 << 16))\n"
        "ts = [threading.Thread(target=f, args=(str(n),)) for n in range(4)]\n"
        "[t.start() for t in ts]; [t.join() for t in ts]; f('last')"
    ),
}
COUNT = """
import os
def blocks():
    total = 0
    for d in range(3, 64):
        try:
            total += os.fstat(d).st_blocks * 512
        except OSError:
            pass
    os.chdir(HOME)
    for folder, _, files in os.walk("."):
        for file in files:
            total += os.stat(os.path.join(folder, file)).st_blocks * 512
    return total
HOME = os.getcwd()
try:
    exec(ATTACK)
except OSError as error:
    print(error.errno == 122, blocks())
"""


@pytest.mark.parametrize("how", DISK)
async def test_disk(how: str, sandbox: Sandbox) -> None:
    """Counted by the program itself, while it still holds all it could get: at most four times
    the limit, if every byte takes a block, and no more than the limit where it writes in bulk.
    """
    execution = await sandbox.run(f"ATTACK = {DISK[how]!r}\n{COUNT}", {})
    refused, taken = execution.stdout.split()
    assert refused == "True"
    worst = 4 if how == "single bytes far apart" else 1
    # A file of both lists counts twice.
    assert int(taken) <= 2 * worst * LIMITS.files_mib * MIB


UNCOUNTED = {
    "a shared mapping": (
        "import mmap\nwith open('a', 'wb+') as f:\n    f.truncate(1 << 20)\n"
        "    mmap.mmap(f.fileno(), 1 << 20)[:] = bytes(1 << 20)"
    ),
    "a file as its output": "import os; os.dup2(os.open('a', os.O_RDWR | os.O_CREAT), 1)",
    "space ahead": "import os; os.posix_fallocate(os.open('a', os.O_RDWR | os.O_CREAT), 0, 1 << 20)",
    "a gathered write": "import os; os.writev(os.open('a', os.O_RDWR | os.O_CREAT), [b'x'])",
    "a file sent to a file": (
        "import os\nopen('a', 'wb').write(bytes(99))\n"
        "os.sendfile(os.open('b', os.O_RDWR | os.O_CREAT), os.open('a', os.O_RDONLY), 0, 99)"
    ),
}


@pytest.mark.parametrize("how", UNCOUNTED)
async def test_a_way_to_write_that_is_not_counted(how: str, attack) -> None:
    execution = await attack(
        f"{UNCOUNTED[how]}\nimport os; os.write(2, b'')\nprint('ESCAPED')",
        proof=how != "a file as its output",
    )
    assert execution.status is Status.FAILED
    assert "PermissionError" in execution.stderr


async def test_closing_an_output_makes_no_room_for_a_file(sandbox: Sandbox) -> None:
    """Else writes to it would pass as output, which is not counted as disk."""
    program = "import os; os.close(1); print(os.open('a', os.O_RDWR | os.O_CREAT) > 2)"
    assert (await sandbox.run(program, {})).stdout == "True\n"


async def test_a_file_longer_than_the_limit(sandbox: Sandbox) -> None:
    execution = await sandbox.run(f"open('a', 'wb').truncate({LIMITS.files_mib * MIB} + 1)", {})
    assert "File too large" in execution.stderr


async def test_all_of_the_disk_may_be_used(sandbox: Sandbox) -> None:
    size = LIMITS.files_mib * MIB - 20_000
    program = f"print(open('a', 'wb', 0).write(bytes({size})))"
    assert (await sandbox.run(program, {})).stdout == f"{size}\n"


THREADS = {
    "sleeping": "threading.Thread(target=time.sleep, args=(99,), daemon=True).start()",
    "with small stacks": (
        "threading.stack_size(32768); "
        "threading.Thread(target=time.sleep, args=(99,), daemon=True).start()"
    ),
}


@pytest.mark.parametrize("how", THREADS)
async def test_a_thread_bomb(how: str, sandbox: Sandbox, world) -> None:
    program = f"""
import os, threading, time
try:
    for n in range(100):
        {THREADS[how]}
    print("ESCAPED", flush=True)
except RuntimeError as error:
    print(n, error, flush=True)
os._exit(0)
"""
    assert "ESCAPED" in world.bare(program)[0]
    execution = await sandbox.run(program, {})
    assert execution.stdout == f"{LIMITS.threads - 1} can't start new thread\n"


async def test_threads_that_start_threads(sandbox: Sandbox) -> None:
    """Started in the same moment they may be twice as many, and never more."""
    program = """
import os, threading, time
def bomb():
    for _ in range(50):
        try:
            threading.Thread(target=bomb, daemon=True).start()
        except RuntimeError:
            time.sleep(0.001)
threading.Thread(target=bomb, daemon=True).start()
most = 0
for _ in range(200):
    time.sleep(0.002)
    most = max(most, os.stat("/proc/self/task").st_nlink - 2)
print(most, flush=True)
os._exit(0)
"""
    execution = await sandbox.run(program, {})
    assert 1 < int(execution.stdout) <= 2 * LIMITS.threads


async def test_threads_that_have_ended_do_not_count(sandbox: Sandbox) -> None:
    program = """
import threading
for _ in range(100):
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
print("done")
"""
    # A joined thread may take the kernel a moment more to remove, so some starts may be refused.
    execution = await sandbox.run(program, {})
    assert execution.stdout == "done\n", execution.stderr


async def test_descriptors_run_out(attack) -> None:
    execution = await attack("import os\nfor _ in range(200):\n    os.dup(1)\nprint('ESCAPED')")
    assert "Too many open files" in execution.stderr


OUTPUT = {
    "stdout": "while True: print('x' * 9999)",
    "stderr": "import sys\nwhile True: sys.stderr.write('x' * 9999)",
    "both": "import sys\nwhile True: sys.stderr.write('x' * 99); print('x' * 99)",
    "past Python": "import os\nwhile True: os.write(1, bytes(65536))",
    "just too much": "print('x' * 65536)",
}


@pytest.mark.parametrize("how", OUTPUT)
async def test_output(how: str, sandbox: Sandbox) -> None:
    execution = await sandbox.run(OUTPUT[how], {})
    assert (execution.status, execution.exit_code) == (Status.OUTPUT, None)
    bound = LIMITS.output_kib * 1024
    assert max(len(execution.stdout), len(execution.stderr)) == bound


async def test_all_of_the_output_may_be_used(sandbox: Sandbox) -> None:
    execution = await sandbox.run(
        "print('x' * 65535); import sys; sys.stderr.write('y' * 65536)", {}
    )
    assert (execution.status, len(execution.stdout), len(execution.stderr)) == ("ok", 65536, 65536)
