"""What it costs to run a program safely, and whether anything is ever left behind.

    python -m benchmarks.sandbox [--executions 200] [--workers 8] [--bubblewrap]
    python -m benchmarks.sandbox --soak 10000

The first prints the latency of one execution after the other and the rate with all workers, side
by side with a bare subprocess (`python -I -S`), the kinds in turns so that the machine is the same
for all; then exits with 1 if the isolated sandbox misses a bar. "cold" is the sandbox without its
pool: opened, used once and closed.

The second runs that many programs, 5 % of them attacks, and exits with 1 if one had a wrong result
or anything was left: a process, a descriptor, a file.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from environment.code.sandbox.base import Execution, Limits, Sandbox, Status
from environment.code.sandbox.bubblewrap import BubblewrapSandbox
from environment.code.sandbox.isolated import IsolatedSandbox, interpreter

P50_MS, PER_SECOND = 40.0, 60.0  # the bars
HOSTILE = 0.05
PROGRAM = """
import collections, heapq, itertools, math, re

def most_common(text, k):
    words = re.findall(r"[a-z]+", text.lower())
    return heapq.nlargest(k, collections.Counter(words).items(), key=lambda pair: (pair[1], pair[0]))

assert most_common("a b b c c c", 2) == [("c", 3), ("b", 2)]
print(math.prod(range(1, 6)), sum(itertools.accumulate(range(5))))
"""
PRINTS = "120 20\n"
# What each attack must come to; those with a time limit take it, so they are few.
ATTACKS: dict[str, Status] = {
    "import os\nwhile True: os.fork()": Status.FAILED,
    "x = bytearray(4 << 30)": Status.MEMORY,
    "x = []\nwhile True: x.append(bytearray(1 << 20))": Status.MEMORY,
    "while True: print('x' * 9999)": Status.OUTPUT,
    "while True: pass": Status.TIMEOUT,
    "import time; time.sleep(99)": Status.TIMEOUT,
    "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)": Status.TIMEOUT,
    "import os\nwhile True: os.mkdir('a'); os.chdir('a')": Status.FAILED,
    "n = 0\nwhile True: n += 1; open(str(n), 'wb').write(bytes(99999))": Status.FAILED,
    "import os; [open(str(n), 'w').close() for n in range(50)]; os._exit(0)": Status.OK,
    "open('/etc/passwd')": Status.FAILED,
    "import socket; socket.socket()": Status.FAILED,
    "import os; os.kill(os.getppid(), 9)": Status.FAILED,
    "import os; os.kill(-1, 9)": Status.FAILED,
    "import os; os.kill(os.getpid(), 9)": Status.FAILED,
    "import ctypes; ctypes.string_at(0)": Status.FAILED,
    "import os; os.closerange(0, 99); os._exit(3)": Status.FAILED,
    "import subprocess; subprocess.run(['sleep', '99'])": Status.FAILED,
    "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(9,)).start()": (
        Status.TIMEOUT
    ),
    "import os\nwhile True: os.dup(1)": Status.FAILED,
    "raise SystemExit(1)": Status.FAILED,
}
Run = Callable[[], Awaitable[float]]


async def bare() -> float:
    """Seconds of one unprotected run, as little as a start of Python can do."""
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        str(interpreter()), "-I", "-S", "-c", PROGRAM, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert out.decode() == PRINTS
    return time.perf_counter() - began


def in_sandbox(sandbox: Sandbox) -> Run:
    async def run() -> float:
        execution = await sandbox.run(PROGRAM, {})
        assert execution.stdout == PRINTS, execution.stderr
        return execution.seconds

    return run


async def cold() -> float:
    """Seconds of one run without a pool."""
    began = time.perf_counter()
    sandbox = IsolatedSandbox(Limits(), workers=1)
    await sandbox.run(PROGRAM, {})
    await sandbox.close()
    return time.perf_counter() - began


async def rate(run: Run, executions: int, workers: int) -> float:
    """Executions per second with so many at once."""
    places = asyncio.Semaphore(workers)

    async def one() -> None:
        async with places:
            await run()

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(executions)))
    return executions / (time.perf_counter() - began)


def percentile(seconds: list[float], share: float) -> float:
    """In milliseconds."""
    return sorted(seconds)[min(len(seconds) - 1, int(share * len(seconds)))] * 1e3


async def compare(executions: int, workers: int, bubblewrap: bool) -> bool:
    """Print the table. Returns: whether the bars are met."""
    sandboxes: dict[str, IsolatedSandbox] = {"isolated": IsolatedSandbox(Limits(), workers)}
    if bubblewrap:
        sandboxes["bubblewrap"] = BubblewrapSandbox(Limits(), workers)
    for sandbox in sandboxes.values():
        await sandbox.start()
    kinds: dict[str, Run] = {"bare subprocess": bare}
    kinds |= {name: in_sandbox(sandbox) for name, sandbox in sandboxes.items()}
    kinds["isolated, cold"] = cold
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    for turn in range(executions):
        for name, run in kinds.items():
            if name != "isolated, cold" or turn % 10 == 0:
                seconds[name].append(await run())
    rates = {
        name: await rate(run, executions, workers) for name, run in kinds.items() if run != cold
    }
    for sandbox in sandboxes.values():
        await sandbox.close()
    print(f"{os.cpu_count()} cores, {executions} executions, {workers} workers")
    print(f"{'':<18}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{'per second':>12}")
    for name, times in seconds.items():
        figures = "".join(f"{percentile(times, share):9.1f}" for share in (0.5, 0.95, 0.99))
        print(f"{name:<18}{figures}{rates.get(name, float('nan')):12.0f}")
    p50, per_second = percentile(seconds["isolated"], 0.5), rates["isolated"]
    met = p50 < P50_MS and per_second >= PER_SECOND
    print(
        f"bars: p50 under {P50_MS:.0f} ms, at least {PER_SECOND:.0f}/s: {'met' if met else 'MISSED'}"
    )
    return met


def processes_with(text: str) -> int:
    """How many processes have this in their command line; a cell has its zygote's."""
    count = 0
    for folder in Path("/proc").iterdir():
        try:
            count += folder.name.isdigit() and text in (folder / "cmdline").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
    return count


async def soak(executions: int, workers: int, seed: int) -> bool:
    """Print the table. Returns: whether nothing was wrong or left."""
    source = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)  # root's cells run as nobody
        descriptors = len(list(Path("/proc/self/fd").iterdir()))
        limits = Limits(wall_s=5.0, memory_mib=256)
        sandbox = IsolatedSandbox(limits, workers, folder=name)
        await sandbox.start()
        places, wrong = asyncio.Semaphore(workers), []
        statuses: Counter[tuple[str, str]] = Counter()

        async def one(number: int) -> None:
            hostile = source.random() < HOSTILE
            program, wanted, out = f"print({number} ** 2)", Status.OK, f"{number**2}\n"
            if hostile:
                program, wanted = source.choice(list(ATTACKS.items()))
            async with places:
                execution: Execution = await sandbox.run(program, {})
            statuses["hostile" if hostile else "benign", execution.status] += 1
            if execution.status is not wanted or (not hostile and execution.stdout != out):
                wrong.append((program, execution))

        began = time.perf_counter()
        await asyncio.gather(*(one(number) for number in range(executions)))
        took = time.perf_counter() - began
        await sandbox.close()
        left = {
            "processes": processes_with(name),
            "folders": len(list(folder.iterdir())),
            "descriptors": len(list(Path("/proc/self/fd").iterdir())) - descriptors,
        }
    for (kind, status), count in sorted(statuses.items()):
        print(f"{kind:<9}{status:<10}{count:>7}")
    print(f"{executions} executions, {workers} workers, {took:.0f} s: {len(wrong)} wrong results")
    print("left behind: " + ", ".join(f"{count} {what}" for what, count in left.items()))
    for program, execution in wrong[:5]:
        print(repr(program), execution)
    return not wrong and not any(left.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--executions", type=int, default=200)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--bubblewrap", action="store_true", help="measure it too")
    parser.add_argument("--soak", type=int, metavar="N", help="run N programs, 5 %% hostile")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.soak:
        good = asyncio.run(soak(arguments.soak, arguments.workers, arguments.seed))
    else:
        good = asyncio.run(compare(arguments.executions, arguments.workers, arguments.bubblewrap))
    sys.exit(not good)


if __name__ == "__main__":
    main()
