"""How a container for one program is started: the strictest settings that ZenML's flavors have.

The keys are those of ZenML's settings classes. What a user configured for the component (an image,
a runtime, a node) is kept; what keeps a program in is not up for configuration.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Any

from environment.code.sandbox.base import Limits

# Beside the program: the Python that watches over it, and the files it writes, which are in memory.
SPARE_MIB = 128
# If nobody is left to destroy a container, its service ends it after this long.
LIFETIME_S = 3600
TEMPORARY = "/tmp"  # noqa: S108 (in the container: all that can be written to there)
LACKING = {
    "docker": "",
    "kubernetes": "no network (a NetworkPolicy can) and no bound on processes (the node's can)",
    "modal": "no network, a user of no rights, a read-only disk and a bound on processes",
}
_UNKNOWN = "anything that we know of: its isolation is all its own"

Settings = dict[str, Any]


def lacking(flavor: str) -> str:
    """What the flavor has no setting for, in words; empty if there is nothing."""
    return LACKING.get(flavor, _UNKNOWN)


def strict(flavor: str, configured: Settings, limits: Limits, tags: Mapping[str, str]) -> Settings:
    """The settings of one session.

    Args:
        configured: those of the component.
        tags: shown as labels where the flavor has them.
    """
    ours: Settings = {"sandbox_environment": {}}  # a program's environment is empty
    if flavor == "docker":
        ours |= _docker(configured, limits, tags)
    elif flavor == "kubernetes":
        ours |= _kubernetes(configured.get("pod_settings") or {}, limits, tags)
    elif flavor == "modal":
        memory = f"{limits.memory_mib + SPARE_MIB}MiB"
        ours |= {"cpu": 1, "memory": memory, "timeout": LIFETIME_S}
    return configured | ours


def _user() -> int:
    # Of its own: the kernel counts processes by user, across the containers of a machine. Below
    # 65,536, so that it exists where users are mapped.
    return random.randint(20_000, 60_000)


def _docker(configured: Settings, limits: Limits, tags: Mapping[str, str]) -> Settings:
    memory, user = f"{limits.memory_mib + SPARE_MIB}m", _user()
    given = configured.get("run_args", {})
    ours = {
        "network_mode": "none",
        "user": f"{user}:{user}",
        "read_only": True,
        "tmpfs": {TEMPORARY: f"rw,noexec,nosuid,nodev,mode=1777,size={limits.files_mib + 8}m"},
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "ipc_mode": "none",
        "pids_limit": limits.threads + 32,
        "memswap_limit": memory,
        "labels": {**given.get("labels", {}), **tags},
    }
    return {
        "memory_limit": memory,
        "cpu_limit": 1.0,
        "workdir": TEMPORARY,
        "run_args": given | ours,
    }


def _kubernetes(pod: Settings, limits: Limits, tags: Mapping[str, str]) -> Settings:
    user = _user()
    amounts = {
        "cpu": "1",
        "memory": f"{limits.memory_mib + SPARE_MIB}Mi",
        "ephemeral-storage": f"{limits.files_mib + SPARE_MIB}Mi",
    }
    who = {"runAsNonRoot": True, "runAsUser": user, "runAsGroup": user}
    ours = {
        "resources": {"requests": amounts | {"cpu": "100m"}, "limits": amounts},
        "volumes": [
            *pod.get("volumes", []),
            {"name": "tmp", "emptyDir": {"sizeLimit": f"{limits.files_mib + 8}Mi"}},
        ],
        "volume_mounts": [*pod.get("volume_mounts", []), {"name": "tmp", "mountPath": TEMPORARY}],
        "labels": {
            **pod.get("labels", {}),
            "art-rl/sandbox": "program",
            **{_label(name): _label(value) for name, value in tags.items()},
        },
        "container_security_context": {
            **who,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "additional_pod_spec_args": {
            **pod.get("additional_pod_spec_args", {}),
            "security_context": {**who, "seccompProfile": {"type": "RuntimeDefault"}},
            "active_deadline_seconds": LIFETIME_S,
            "termination_grace_period_seconds": 0,
            "enable_service_links": False,
        },
    }
    return {
        "pod_settings": pod | ours,
        "privileged": False,
        "automount_service_account_token": False,
    }


def _label(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", text)[:63].strip("-._")
