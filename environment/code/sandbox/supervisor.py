"""Runs one program inside a container, within limits, and reports on stdout in one line of JSON.

Sent to the container as text, it needs only the standard library. The container provides the
isolation; this enforces the CPU, memory, output and file limits for which its flavor may have no
setting, and determines how the program ended.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import json
import os
import random
import resource
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 4, 38
# Other processes of the same user: the container's init, a shell, this one.
OTHER_PROCESSES = 8
# Like -I, which would also ignore the hash seed.
_FLAGS = ["-s", "-S", "-B", "-X", "utf8", *(["-P"] if sys.version_info >= (3, 11) else [])]


def supervise(job: dict[str, Any]) -> dict[str, Any]:
    """Run ``job["program"]``; the other keys are those of ``Limits``."""
    # Prevents the program from writing to our stdout or stopping us through /proc and ptrace.
    _prctl(PR_SET_DUMPABLE, 0)
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o711)
    script, home = folder / "program.py", folder / "home"
    # Invalid UTF-8 is the program's error, so leave it to Python to report.
    script.write_bytes(job["program"].encode("utf-8", "surrogatepass"))
    script.chmod(0o644)
    home.mkdir()
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        # A unique user, as the kernel counts processes per user across containers.
        number = random.randint(20_000, 60_000)
        user = {"user": number, "group": number, "extra_groups": []}
        os.chown(home, number, number)
    out_of_memory = _kills_for_memory()
    started = time.monotonic()
    process = subprocess.Popen(  # noqa: S603 (running untrusted programs is its purpose)
        [sys.executable, *_FLAGS, script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=home,
        env={"PYTHONHASHSEED": "0"},  # reproducible results
        start_new_session=True,
        preexec_fn=lambda: _limit(job),  # noqa: PLW1509 (no threads here)
        close_fds=False,  # ours close on exec, and listing them needs /proc, given up above
        **user,
    )
    status, out, err = _watch(process, started + job["wall_s"], job["output_kib"] * 1024)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    code = process.returncode
    if status == "ended":
        busy = used.ru_utime + used.ru_stime >= job["cpu_s"]
        if code == -signal.SIGXCPU or (code == -signal.SIGKILL and busy):
            status = "timeout"
        elif code == 0:
            status = "ok"
        elif _lacked_memory(err) or _kills_for_memory() > out_of_memory:
            status = "memory"
        else:
            status = "failed"
    return {
        "status": status,
        "exit_code": None if status in ("timeout", "output") else code,
        "stdout": base64.b64encode(out).decode(),
        "stderr": base64.b64encode(err).decode(),
    }


def _limit(job: dict[str, Any]) -> None:
    """Runs in the child, before the program."""
    memory, files = job["memory_mib"] * 2**20, job["files_mib"] * 2**20
    processes = job["threads"] + OTHER_PROCESSES
    for kind, soft, hard in (
        (resource.RLIMIT_CPU, job["cpu_s"], job["cpu_s"] + 1),
        (resource.RLIMIT_AS, memory, memory),
        (resource.RLIMIT_FSIZE, files, files),
        (resource.RLIMIT_NPROC, processes, processes),
        (resource.RLIMIT_NOFILE, job["open_files"], job["open_files"]),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        allowed = resource.getrlimit(kind)[1]
        if allowed == resource.RLIM_INFINITY:
            allowed = hard
        resource.setrlimit(kind, (min(soft, allowed), min(hard, allowed)))
    _prctl(PR_SET_NO_NEW_PRIVS, 1)


def _watch(process: subprocess.Popen[bytes], deadline: float, cap: int) -> tuple[str, bytes, bytes]:
    """Read the outputs until the end; the status is "ended", "timeout" or "output"."""
    kept: dict[Any, bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
    with selectors.DefaultSelector() as selector:
        for stream in kept:
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, selectors.EVENT_READ)
        status = "ended"
        while status == "ended":
            ended = process.poll() is not None
            # Orphans may hold the pipes open: once the process has ended, do not wait.
            patience = 0 if ended else max(0.0, min(0.05, deadline - time.monotonic()))
            events = selector.select(patience)
            for key, _ in events:
                data = os.read(key.fd, 65536)
                kept[key.fileobj] += data
                if not data:
                    selector.unregister(key.fileobj)
                elif len(kept[key.fileobj]) > cap:
                    status = "output"
            if not selector.get_map() and not ended and process.poll() is None:
                time.sleep(0.002)
            if ended and not events:
                break
            if time.monotonic() >= deadline and process.poll() is None:
                status = "timeout"
    # The group may be gone, or no longer ours; the container is destroyed anyway.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return status, bytes(kept[process.stdout][:cap]), bytes(kept[process.stderr][:cap])


def _lacked_memory(stderr: bytes) -> bool:
    return stderr.rstrip().rpartition(b"\n")[2].startswith(b"MemoryError")


def _kills_for_memory() -> int:
    """The number of OOM kills in this container."""
    try:
        with open("/sys/fs/cgroup/memory.events") as events:
            counts = dict(line.split() for line in events)
    except OSError:
        return 0  # cgroup v2 is not visible
    return int(counts.get("oom_kill", 0))


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def report(job: dict[str, Any]) -> None:
    try:
        result = supervise(job)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        result = {"error": f"{type(error).__name__}: {error}"}
    sys.stdout.write("\n" + json.dumps(result) + "\n")
    sys.stdout.flush()
