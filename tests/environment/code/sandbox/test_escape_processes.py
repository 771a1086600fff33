"""A program starts no process, touches no other one, and nothing of it survives."""

from __future__ import annotations

import os

import pytest

from environment.code.sandbox.base import Sandbox, Status
from tests.environment.code.sandbox.world import SECRET

pytestmark = pytest.mark.asyncio(loop_scope="session")

STARTS = {
    "a fork": "import os; pid = os.fork()\nif not pid: os._exit(0)\nos.waitpid(pid, 0)",
    "a fork bomb": (
        "import os\nfor _ in range(8):\n    if not os.fork(): os._exit(0)\n"
        "for _ in range(8): os.wait()"
    ),
    "a command": "import subprocess; subprocess.run(['/bin/true'], check=True)",
    "a shell": "import os; assert os.system('true') == 0",
    "a spawn": "import os; os.waitpid(os.posix_spawn('/bin/true', ['true'], {}), 0)",
    "another program in its place": ("import os; os.execv('/bin/echo', ['echo', 'ESCAPED'])"),
    "a daemon": ("import os\nif not os.fork():\n    os.setsid()\n    os._exit(0)\nos.wait()"),
    "a pool of processes": (
        "import multiprocessing\n"
        "with multiprocessing.get_context('fork').Pool(1) as pool: pool.map(abs, [1])"
    ),
    "a new session": "import os; os.fork() and os._exit(0); os.setsid()",
    "a process group of its own": "import os; os.fork() and os._exit(0); os.setpgid(0, 0)",
}


@pytest.mark.parametrize("what", STARTS)
async def test_starting_a_process(what, attack) -> None:
    execution = await attack(f"{STARTS[what]}\nprint('ESCAPED')")
    assert execution.status is Status.FAILED


TOUCHES = {
    "a signal": "import os; os.kill(@VICTIM@, 0)",
    "a signal to the parent": "import os; os.kill(@PARENT@, 0)",
    "a signal to whoever started it": "import os; os.kill(os.getppid(), 0)",
    "a signal to its group": "import os; os.killpg(0, 0)",
    "a signal to all": "import os; os.kill(-1, 0)",
    "a signal by descriptor": (
        "import os, signal; signal.pidfd_send_signal(os.pidfd_open(@VICTIM@), 0)"
    ),
    "its environment": "assert 's3cret' in open('/proc/@VICTIM@/environ').read()",
    "the parent's environment": "open('/proc/@PARENT@/environ').read()",
    "its memory": "open('/proc/@VICTIM@/mem', 'rb+', 0)",
    "its descriptors": "import os; os.listdir('/proc/@VICTIM@/fd')",
    "its folder, through /proc": "import os; os.listdir('/proc/@VICTIM@/cwd/')",
    "the list of processes": "import os; os.listdir('/proc')",
    "its command line": "open('/proc/@PARENT@/cmdline').read()",
    "its priority": "import os; os.setpriority(os.PRIO_PROCESS, @VICTIM@, 1)",
    "its processors": "import os; os.sched_setaffinity(@VICTIM@, os.sched_getaffinity(0))",
    "its limits": "import resource; resource.prlimit(@VICTIM@, resource.RLIMIT_CORE)",
    "ptrace": (
        "import ctypes, os; c = ctypes.CDLL(None)\n"
        "assert c.ptrace(16, @VICTIM@, 0, 0) == 0\nos.waitpid(@VICTIM@, 0x40000000)\n"
        "assert c.ptrace(17, @VICTIM@, 0, 0) == 0"
    ),
    "reading its memory by a call": (
        "import ctypes\n"
        "class V(ctypes.Structure): _fields_ = [('a', ctypes.c_void_p), ('n', ctypes.c_size_t)]\n"
        "text = ctypes.create_string_buffer(8)\n"
        "start = int(open('/proc/@VICTIM@/maps').readline().split('-')[0], 16)\n"
        "a, b = V(ctypes.addressof(text), 8), V(start, 8)\n"
        "n = ctypes.CDLL(None).process_vm_readv(@VICTIM@, ctypes.byref(a), 1, ctypes.byref(b), 1, 0)\n"
        "assert n == 8"
    ),
}


@pytest.mark.parametrize("what", TOUCHES)
async def test_touching_another_process(what, attack) -> None:
    execution = await attack(f"{TOUCHES[what]}\nprint('ESCAPED')")
    assert execution.status is Status.FAILED
    assert SECRET not in execution.stdout


async def test_the_only_descriptors_are_the_three_standard_ones(sandbox: Sandbox) -> None:
    """None of the pool's: no control socket, no pipe of another program, no listener."""
    program = """
import os
def there(n):
    try:
        os.fstat(n)
    except OSError:
        return False
    return True
print([n for n in range(4096) if there(n)])
"""
    assert (await sandbox.run(program, {})).stdout == "[0, 1, 2]\n"


async def test_a_signal_to_itself_ends_only_itself(sandbox: Sandbox) -> None:
    for name in ("SIGKILL", "SIGTERM", "SIGABRT", "SIGSYS"):
        execution = await sandbox.run(f"import os, signal; os.kill(os.getpid(), signal.{name})", {})
        assert execution.status is Status.FAILED
        assert execution.exit_code is not None
        assert execution.exit_code < 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has anything to drop")
async def test_root_is_dropped(sandbox: Sandbox) -> None:
    execution = await sandbox.run("import os; print(os.getuid(), os.geteuid(), os.getgroups())", {})
    assert execution.stdout.split()[:2] == ["65534", "65534"]


@pytest.mark.parametrize("function", ["setuid", "seteuid", "setgid"])
async def test_becoming_root_again(function: str, sandbox: Sandbox) -> None:
    execution = await sandbox.run(f"import os; os.{function}(0); print('ESCAPED')", {})
    assert "PermissionError" in execution.stderr
