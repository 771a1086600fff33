"""A program ends when its time is over, whatever it does against it."""

from __future__ import annotations

import pytest

from environment.code.sandbox.base import Status

FOREVER = {
    "a loop": "while True: pass",
    "a sleep": "import time; time.sleep(99)",
    "a stop": "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
    "a pause": "import signal; signal.pause()",
    "a deadlock": "import threading; x = threading.Lock(); x.acquire(); x.acquire()",
    "all signals blocked": (
        "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nwhile True: pass"
    ),
    "all signals ignored": (
        "import signal\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\nwhile True: pass"
    ),
    "an exception that is caught": (
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass"
    ),
    "a thread that is waited for": (
        "import threading, time; threading.Thread(target=time.sleep, args=(99,)).start()"
    ),
    "a last function": "import atexit, time; atexit.register(time.sleep, 99)",
    "one that ends without its process": (
        "import ctypes, platform, threading, time\n"
        "threading.Thread(target=time.sleep, args=(99,), daemon=True).start()\n"
        "ctypes.CDLL(None).syscall({'x86_64': 60, 'aarch64': 93}[platform.machine()], 0)"
    ),
    "a huge power": "x = 9 ** 9 ** 9",
    "a regular expression": "import re; re.match('(a+)+$', 'a' * 99 + 'b')",
    "its own text": "class E(Exception):\n    def __str__(self):\n        while True: pass\nraise E",
    "a full pipe": "import os\nr, w = os.pipe()\nwhile True: os.write(w, bytes(65536))",
}


@pytest.mark.parametrize("how", FOREVER)
async def test_running_forever(how: str, open_sandbox, kind: str) -> None:
    execution = await open_sandbox(kind, workers=1, wall_s=0.5, cpu_s=60).run(FOREVER[how], {})
    assert (execution.status, execution.exit_code) == (Status.TIMEOUT, None), execution.stderr


@pytest.mark.parametrize("how", ["a loop", "all signals ignored", "all signals blocked"])
async def test_processor_time(how: str, open_sandbox, kind: str) -> None:
    """Long before its time by the clock is over."""
    execution = await open_sandbox(kind, workers=1, wall_s=300, cpu_s=1).run(FOREVER[how], {})
    assert (execution.status, execution.exit_code) == (Status.TIMEOUT, None)


async def test_processor_time_of_threads_is_summed(open_sandbox, kind: str) -> None:
    program = """
import hashlib, threading
def work():
    while True:
        hashlib.sha256(bytes(1 << 20)).digest()
for _ in range(3):
    threading.Thread(target=work).start()
"""
    execution = await open_sandbox(kind, workers=1, wall_s=300, cpu_s=1).run(program, {})
    assert execution.status is Status.TIMEOUT
