"""The strictest settings of ZenML's sandbox flavors, for a container that runs one program.

The keys are those of ZenML's settings classes. Users' own settings (an image, a runtime, a node) are
kept, except for those that affect isolation.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Any

from environment.code.sandbox.base import Limits

# For the supervisor, and for files that the program writes, which are in memory.
SPARE_MIB = 128
# The service kills containers that nobody destroys after this long.
LIFETIME_S = 3600
TEMPORARY = "/tmp"  # noqa: S108 (the only writable folder in the container)
LACKING = {
    "docker": "",
    "kubernetes": "network isolation (use a NetworkPolicy) or a process limit (use the node's)",
    "modal": "network isolation, an unprivileged user, a read-only disk or a process limit",
}
_UNKNOWN = "anything we know of: its isolation is all its own"

Settings = dict[str, Any]


def lacking(flavor: str) -> str:
    """What the flavor has no setting for, in words; empty for nothing."""
    return LACKING.get(flavor, _UNKNOWN)


def strict(flavor: str, configured: Settings, limits: Limits, tags: Mapping[str, str]) -> Settings:
    """The settings of one session.

    Args:
        configured: the component's settings.
        tags: shown as labels if the flavor has them.
    """
    ours: Settings = {"sandbox_environment": {}}
    if flavor == "docker":
        ours |= _docker(configured, limits, tags)
    elif flavor == "kubernetes":
        ours |= _kubernetes(configured.get("pod_settings") or {}, limits, tags)
    elif flavor == "modal":
        memory = f"{limits.memory_mib + SPARE_MIB}MiB"
        ours |= {"cpu": 1, "memory": memory, "timeout": LIFETIME_S}
    return configured | ours


def _user() -> int:
    # Unique, as the kernel counts processes per user across containers. Below 65,536, so that it
    # exists in user namespaces.
    return random.randint(20_000, 60_000)


def _docker(configured: Settings, limits: Limits, tags: Mapping[str, str]) -> Settings:
    memory, user = f"{limits.memory_mib + SPARE_MIB}m", _user()
    run_args = configured.get("run_args", {})
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
        "labels": {**run_args.get("labels", {}), **tags},
    }
    return {
        "memory_limit": memory,
        "cpu_limit": 1.0,
        "workdir": TEMPORARY,
        "run_args": run_args | ours,
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
