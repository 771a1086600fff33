"""Where the kernel offers too little, nothing runs: simulated at the system calls themselves.

Each test starts a process in which a seccomp filter of its own answers the calls in question as a
kernel without the feature would, and then opens a sandbox there.
"""

from __future__ import annotations

import errno
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from environment.code.sandbox import bubblewrap, needs
from environment.code.sandbox.base import Limits, SandboxUnavailable
from environment.code.sandbox.isolated import IsolatedSandbox
from environment.code.sandbox.jail import calls

ROOT = Path(__file__).parents[4]
SECCOMP = {"x86_64": 317, "aarch64": 277}[os.uname().machine]
CLONE = calls.ARCHITECTURES[os.uname().machine].number("clone")
CLONE_NEWUSER = 0x10000000
NEW_LISTENER = 8
LANDLOCK = {"create_ruleset": 444, "add_rule": 445, "restrict_self": 446}
OPEN = """
import asyncio, json, os, sys
from environment.code.sandbox.base import Limits, SandboxUnavailable
from environment.code.sandbox.bubblewrap import BubblewrapSandbox
from environment.code.sandbox.isolated import IsolatedSandbox
from environment.code.sandbox.jail import kernel

async def main():
    kind, program = sys.argv[1:]
    kernel.no_new_privileges()
    kernel.filter_calls(bytes.fromhex(program))
    try:
        sandbox = {"isolated": IsolatedSandbox, "bubblewrap": BubblewrapSandbox}[kind](Limits(), 1)
        await sandbox.start()
    except SandboxUnavailable as error:
        print("refused:", error)
        return
    print("ran:", await sandbox.run("print(1)", {}))
    await sandbox.close()

asyncio.run(main())
"""


def filter_for(number: int, answer: int, argument: int = 0, bits: int = 0) -> bytes:
    """Answers one system call with an errno (0: with a lie that it worked); all others pass.

    Args:
        argument, bits: only if these bits of this argument are set.
    """
    program = [(0x20, 0, 0, 0), (0x15, 0, 4 if bits else 1, number)]
    if bits:
        program += [(0x20, 0, 0, 16 + 8 * argument), (0x54, 0, 0, bits), (0x15, 0, 1, bits)]
    program += [(0x06, 0, 0, 0x00050000 | answer), (0x06, 0, 0, 0x7FFF0000)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def opened(kind: str, program: bytes) -> str:
    """What came of opening a sandbox where this filter holds."""
    done = subprocess.run(
        [sys.executable, "-c", OPEN, kind, program.hex()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_simulation_itself_lets_a_sandbox_run() -> None:
    assert opened("isolated", filter_for(9999, errno.ENOSYS)).startswith("ran: ")


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM])
def test_no_landlock(code: int) -> None:
    """Not compiled in, not switched on, or hidden by a container's seccomp profile."""
    text = opened("isolated", filter_for(LANDLOCK["create_ruleset"], code))
    assert text.startswith("refused: The kernel offers no Landlock")
    assert os.strerror(code) in text
    for way_out in ("5.13", "lsm=landlock", "bubblewrap", "docker"):
        assert way_out in text


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EINVAL, errno.EPERM])
def test_no_seccomp(code: int) -> None:
    text = opened("isolated", filter_for(SECCOMP, code))
    assert text.startswith("refused: The kernel offers no seccomp filters")
    for way_out in ("CONFIG_SECCOMP_FILTER", "docker"):
        assert way_out in text


@pytest.mark.parametrize("call", ["add_rule", "restrict_self"])
def test_landlock_that_is_offered_but_does_not_work(call: str) -> None:
    text = opened("isolated", filter_for(LANDLOCK[call], errno.E2BIG))
    assert text.startswith("refused: No program can be locked down here: ")
    assert "Landlock" in text


def test_a_filter_that_cannot_be_installed() -> None:
    """There may be one that notifies already, as in some containers, and a second is refused."""
    text = opened("isolated", filter_for(SECCOMP, errno.EBUSY, 1, NEW_LISTENER))
    assert text.startswith("refused: No program can be locked down here: ")
    assert "seccomp filter: Device or resource busy" in text


def test_landlock_that_only_pretends_is_found_out() -> None:
    text = opened("isolated", filter_for(LANDLOCK["restrict_self"], 0))
    assert text.startswith("refused: No program can be locked down here: ")
    assert "Landlock lets the root folder be listed" in text


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
def test_no_user_namespaces() -> None:
    text = opened("bubblewrap", filter_for(CLONE, errno.EPERM, bits=CLONE_NEWUSER))
    assert text.startswith("refused: bwrap cannot create namespaces here")
    assert "max_user_namespaces" in text
    assert "apparmor_restrict_unprivileged_userns" in text


def test_no_bubblewrap(monkeypatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SandboxUnavailable, match="install the package bubblewrap"):
        bubblewrap.bwrap()


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
def test_bubblewrap_alone_is_not_enough() -> None:
    text = opened("bubblewrap", filter_for(LANDLOCK["create_ruleset"], errno.ENOSYS))
    assert text.startswith("refused: The kernel offers no Landlock")


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_another_system(system: str, monkeypatch) -> None:
    monkeypatch.setattr(sys, "platform", system)
    with pytest.raises(SandboxUnavailable, match="use docker"):
        IsolatedSandbox(Limits())


def test_another_processor(monkeypatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(SandboxUnavailable, match="x86_64, aarch64, not riscv64"):
        needs.check()


async def test_a_folder_that_cannot_be_used(folder: Path) -> None:
    sandbox = IsolatedSandbox(Limits(), 1, folder=str(folder / "missing"))
    with pytest.raises(SandboxUnavailable, match="missing"):
        await sandbox.run("print(1)", {})
    await sandbox.close()
