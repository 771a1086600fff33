"""The isolated sandbox inside namespaces of its own, made by bubblewrap.

On top of what ``isolated`` holds, a program finds no other process, no network device and no path
but the interpreter's: what Landlock only locks is not there at all. One namespace holds all cells
of a sandbox; from each other they are held apart as in ``isolated``, so that one execution costs
no more. It needs the package ``bubblewrap`` and a kernel that lets users make namespaces.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

from environment.code.sandbox import needs
from environment.code.sandbox.base import Limits
from environment.code.sandbox.isolated import PACKAGE, IsolatedSandbox, zygote_command

_NOBODY = "65534"
_SCRATCH = "/scratch"
_SYSTEM = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache")
_PROBE_S = 20.0
# Of the machine's root nothing is left in there but a user without capabilities.
_NAMESPACES = (
    "--unshare-all",
    "--unshare-user",
    "--uid",
    _NOBODY,
    "--gid",
    _NOBODY,
    "--cap-drop",
    "ALL",
    "--new-session",
    "--die-with-parent",
)


def bwrap() -> str:
    """Where bubblewrap is.

    Raises:
        SandboxUnavailable: it is not there, or the kernel lets it make no namespaces.
    """
    path = shutil.which("bwrap")
    if path is None:
        raise needs.unavailable(
            "The bubblewrap sandbox needs bwrap: install the package bubblewrap (apt-get install "
            "bubblewrap, dnf install bubblewrap)."
        )
    command = [path, *_NAMESPACES, "--ro-bind", "/", "/", "--proc", "/proc", "true"]
    probe = subprocess.run(  # noqa: S603 - our own command
        command, capture_output=True, text=True, timeout=_PROBE_S, check=False
    )
    if probe.returncode:
        raise needs.unavailable(
            f"bwrap can make no namespaces here ({probe.stderr.strip()}). The kernel must let users "
            "make them: sysctl user.max_user_namespaces above 0, "
            "kernel.apparmor_restrict_unprivileged_userns=0 on Ubuntu 24.04, and in a container a "
            "seccomp profile that allows unshare; sandbox.kind isolated needs none."
        )
    return path


class BubblewrapSandbox(IsolatedSandbox):
    """
    Args:
        limits: of every execution.
        workers: programs at once; others wait.

    Raises:
        SandboxUnavailable: bwrap, namespaces or what ``isolated`` needs are missing.
    """

    name = "bubblewrap"

    def __init__(self, limits: Limits, workers: int = 8) -> None:
        super().__init__(limits, workers, folder=_SCRATCH)

    def _command(self) -> Sequence[str]:
        # The interpreter may stand in a home folder: only its own folder comes along.
        inside = [os.path.realpath(sys.base_prefix), str(PACKAGE)]
        binds = [arg for path in _SYSTEM for arg in ("--ro-bind-try", path, path)]
        binds += [arg for path in inside for arg in ("--ro-bind", path, path)]
        own = ["--proc", "/proc", "--dev", "/dev", "--tmpfs", _SCRATCH, "--chdir", "/"]
        return [bwrap(), *_NAMESPACES, *binds, *own, "--", *zygote_command()]


async def open_bubblewrap(limits: Limits, workers: int = 8) -> BubblewrapSandbox:
    """A bubblewrap sandbox with its first cells ready.

    Raises:
        SandboxUnavailable: no program can be run safely here.
    """
    sandbox = BubblewrapSandbox(limits, workers)
    await sandbox.start()
    return sandbox
