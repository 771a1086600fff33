"""The isolated sandbox inside its own namespaces, created by bubblewrap.

On top of the protection of ``isolated``, a program sees no other process, no network device and no
path but the interpreter's: what Landlock merely locks does not exist here. All cells of a sandbox
share one set of namespaces and are separated from each other as in ``isolated``, so an execution
costs no more. Needs the package ``bubblewrap`` and a kernel with unprivileged user namespaces.
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
# Inside, even the host's root is an unprivileged user without capabilities.
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
    """The path of bubblewrap.

    Raises:
        SandboxUnavailable: it is not installed, or the kernel forbids namespaces.
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
            f"bwrap cannot create namespaces here ({probe.stderr.strip()}). The kernel must allow "
            "unprivileged ones: sysctl user.max_user_namespaces above 0, "
            "kernel.apparmor_restrict_unprivileged_userns=0 on Ubuntu 24.04, and in a container a "
            "seccomp profile that allows unshare; sandbox.kind isolated needs none."
        )
    return path


class BubblewrapSandbox(IsolatedSandbox):
    """
    Args:
        limits: per execution.
        workers: concurrent programs; others queue.

    Raises:
        SandboxUnavailable: bwrap, namespaces or a requirement of ``isolated`` is missing.
    """

    name = "bubblewrap"

    def __init__(self, limits: Limits, workers: int = 8) -> None:
        super().__init__(limits, workers, folder=_SCRATCH)

    def _command(self) -> Sequence[str]:
        # The interpreter may be in a home folder: bind nothing but its own folder.
        inside = [os.path.realpath(sys.base_prefix), str(PACKAGE)]
        binds = [arg for path in _SYSTEM for arg in ("--ro-bind-try", path, path)]
        binds += [arg for path in inside for arg in ("--ro-bind", path, path)]
        own = ["--proc", "/proc", "--dev", "/dev", "--tmpfs", _SCRATCH, "--chdir", "/"]
        return [bwrap(), *_NAMESPACES, *binds, *own, "--", *zygote_command()]
