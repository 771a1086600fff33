"""What an isolated sandbox needs of this machine, and what to do where it is missing."""

from __future__ import annotations

import platform
import sys

from environment.code.sandbox.base import SandboxUnavailable

_OTHERWISE = (
    "Programs never run unprotected. What else there is: set sandbox.kind to bubblewrap (needs the "
    "package bubblewrap), or let programs run in docker, kubernetes or modal through ZenML."
)


def unavailable(what: str) -> SandboxUnavailable:
    """The refusal, with the ways out."""
    return SandboxUnavailable(f"{what} {_OTHERWISE}")


def check() -> None:
    """Ask the kernel, once, before any work.

    Raises:
        SandboxUnavailable: no program can be run safely here.
    """
    if sys.platform != "linux":
        raise unavailable(
            f"The isolated sandbox needs Linux; this is {platform.system()}. On macOS and Windows "
            "use docker."
        )
    # Imported here, because it opens the C library as Linux has it.
    from environment.code.sandbox.jail import calls, kernel

    machine = platform.machine()
    if machine not in calls.ARCHITECTURES:
        raise unavailable(
            f"The isolated sandbox knows the system calls of {', '.join(calls.ARCHITECTURES)}, not "
            f"of {machine}."
        )
    try:
        kernel.landlock_abi()
    except OSError as error:
        raise unavailable(
            f"The kernel offers no Landlock ({error.strerror}). It needs Linux 5.13 or newer with "
            "landlock among the modules of /sys/kernel/security/lsm (boot parameter "
            "lsm=landlock,...); a container needs a seccomp profile that allows landlock_* calls."
        ) from error
    try:
        kernel.seccomp_notifies()
    except OSError as error:
        raise unavailable(
            f"The kernel offers no seccomp filters with notifications ({error.strerror}). It needs "
            "CONFIG_SECCOMP_FILTER; a container needs a profile that allows the seccomp call."
        ) from error
