"""Checks the isolated sandbox's system requirements."""

from __future__ import annotations

import platform
import sys

from environment.code.sandbox.base import SandboxUnavailable

_OTHERWISE = (
    "Programs never run unprotected. Alternatives: set sandbox.kind to bubblewrap (needs the "
    "package bubblewrap), or run programs in docker, kubernetes or modal through ZenML."
)


def unavailable(what: str) -> SandboxUnavailable:
    """An error that lists the alternatives."""
    return SandboxUnavailable(f"{what} {_OTHERWISE}")


def check() -> None:
    """
    Raises:
        SandboxUnavailable: no program can run safely here.
    """
    if sys.platform != "linux":
        raise unavailable(
            f"The isolated sandbox needs Linux; this is {platform.system()}. On macOS and Windows "
            "use docker."
        )
    # Importing it loads Linux's C library.
    from environment.code.sandbox.jail import calls, kernel

    machine = platform.machine()
    if machine not in calls.ARCHITECTURES:
        raise unavailable(
            f"The isolated sandbox supports {', '.join(calls.ARCHITECTURES)}, not {machine}."
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
