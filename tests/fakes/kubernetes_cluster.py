"""A Kubernetes cluster on loopback that runs Jobs: its API, a scheduler with one node, and pods that
are processes of this machine.

What a cluster would refuse is refused: manifests that break their schema, quantities that are none.
A pod that fits no node waits, and says why in its events, until the deadline of its Job.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from kubernetes.utils import parse_quantity

from tests import forks
from tests.fakes import container
from tests.fakes.kubernetes_api import KubernetesApi, Manifest, failure, violation


class Process(Protocol):
    """As ``multiprocessing`` has it."""

    exitcode: int | None

    def kill(self) -> None: ...
    def terminate(self) -> None: ...
    def join(self, timeout: float | None = None) -> None: ...


@dataclass(frozen=True, slots=True)
class Node:
    labels: Mapping[str, str]
    taints: frozenset[str]
    allocatable: Mapping[str, str]


@dataclass(slots=True)
class Pod:
    """A pod, and the folder that is its disk. ``process`` is None while it waits for a node."""

    name: str
    job: str
    manifest: Manifest
    folder: Path
    process: Any = None
    events: list[Manifest] = field(default_factory=list)

    @property
    def container(self) -> Manifest:
        (container,) = self.manifest["spec"]["containers"]
        return container

    @property
    def log(self) -> str:
        log = self.folder / "log"
        return log.read_text() if log.exists() else ""


class KubernetesCluster(KubernetesApi):
    """Use as a context manager.

    Args:
        folder: for the disks of the pods.
        image: fills the folder of a pod with the files of its image and returns the image's
            environment variables.
        forked: whether the processes are forked from one that has the imports done.
    """

    def __init__(
        self, folder: Path, node: Node, image: Callable[[str, Path], Mapping[str, str]]
    ) -> None:
        self.folder, self.node, self.image = folder, node, image
        self.secrets: dict[str, dict[str, bytes]] = {}
        self.jobs: dict[str, Manifest] = {}
        self.pods: list[Pod] = []
        self.forked = True
        super().__init__()

    def answer(
        self, method: str, path: str, query: dict[str, list[str]], body: bytes
    ) -> tuple[int, Manifest]:
        parts = path.strip("/").split("/")
        *_, namespace, kind = parts if parts[-1] in {"jobs", "events"} else parts[:-1] or [""] * 2
        if kind == "jobs" and method == "POST":
            return self._create_job(namespace, body)
        if kind == "jobs" and method == "GET":
            wanted = _pairs(query.get("labelSelector", [""])[0])
            with self.lock:
                jobs = [j for j in self.jobs.values() if wanted <= _labels(j).items()]
            return 200, {"kind": "JobList", "apiVersion": "batch/v1", "items": jobs}
        if method == "DELETE" and "/jobs/" in path:
            return self._delete_job(parts[-1])
        if kind == "events" and method == "GET":
            events = [event for pod in self.pods for event in pod.events]
            return 200, {"kind": "EventList", "apiVersion": "v1", "items": events}
        return super().answer(method, path, query, body)

    def _create_job(self, namespace: str, body: bytes) -> tuple[int, Manifest]:

        job: Manifest = {"apiVersion": "batch/v1", "kind": "Job", **json.loads(body)}
        self.applied.append(job)
        template = job["spec"]["template"]
        wrong = violation(job) or wrong_quantity(template["spec"])
        if wrong:
            return 422, failure(422, wrong)
        name = job["metadata"]["name"]
        job["metadata"] |= {"namespace": namespace, "uid": str(uuid.uuid4())}
        job["metadata"]["creationTimestamp"] = datetime.now(UTC).isoformat()
        job["status"] = {"active": 1}
        pod = Pod(f"{name}-{uuid.uuid4().hex[:5]}", name, template, self.folder / name)
        with self.lock:
            self.jobs[name] = job
            self.pods.append(pod)
        threading.Thread(target=self._control, args=(job, pod), daemon=True).start()
        return 201, job

    def _delete_job(self, name: str) -> tuple[int, Manifest]:
        """With its pods, which are asked to stop first."""
        with self.lock:
            if self.jobs.pop(name, None) is None:
                return 404, failure(404, f"jobs {name!r} not found")
        for pod in self.pods:
            if pod.job == name and pod.process and pod.process.exitcode is None:
                pod.process.terminate()
        return 200, {"kind": "Status", "apiVersion": "v1", "status": "Success"}

    def _control(self, job: Manifest, pod: Pod) -> None:
        """What scheduler, kubelet and Job controller do, of one Job with one attempt."""
        deadline = job["spec"].get("activeDeadlineSeconds", 600)
        until = time.monotonic() + deadline
        why_not = self._misfit(pod.manifest["spec"])
        if why_not:
            pod.events.append(_event(pod, "FailedScheduling", why_not))
            time.sleep(deadline)
        else:
            pod.process = self._start(pod)
            pod.process.join(max(0.0, until - time.monotonic()))
        failed = {"type": "Failed", "status": "True"}
        if pod.process is None or pod.process.exitcode is None:
            if pod.process:
                pod.process.kill()
            failed |= {
                "reason": "DeadlineExceeded",
                "message": "Job was active longer than specified deadline",
            }
        elif pod.process.exitcode == 0:
            failed = {"type": "Complete", "status": "True"}
        else:
            failed |= {
                "reason": "BackoffLimitExceeded",
                "message": "Job has reached the specified backoff limit",
            }
        with self.lock:
            job["status"] = {"conditions": [failed]}

    def _misfit(self, spec: Manifest) -> str | None:
        requests = spec["containers"][0]["resources"]["requests"]
        tolerated = {t["key"] for t in spec.get("tolerations", [])}
        if not spec.get("nodeSelector", {}).items() <= self.node.labels.items():
            reason = "1 node(s) didn't match Pod's node affinity/selector"
        elif untolerated := self.node.taints - tolerated:
            reason = f"1 node(s) had untolerated taint {{{min(untolerated)}}}"
        else:
            lacking = [
                name
                for name, amount in requests.items()
                if parse_quantity(amount) > parse_quantity(self.node.allocatable.get(name, "0"))
            ]
            if not lacking:
                return None
            reason = ", ".join(f"1 Insufficient {name}" for name in lacking)
        return f"0/1 nodes are available: {reason}."

    def _start(self, pod: Pod) -> Process:
        pod.folder.mkdir(parents=True)
        environment = dict(self.image(pod.container["image"], pod.folder))
        environment |= {"HOME": str(pod.folder), "TMPDIR": str(pod.folder)}
        for variable in pod.container["env"]:
            value = variable.get("value")
            if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                secret = self.secrets.get(reference["name"], {}).get(reference["key"])
                if secret is None and reference.get("optional"):
                    continue
                assert secret is not None, f"CreateContainerConfigError: no secret {reference}"
                value = base64.b64decode(secret).decode()
            environment[variable["name"]] = value or ""
        program, *arguments = [*pod.container["command"], *pod.container["args"]]
        assert program == "python"
        if self.forked:
            return forks.start(container.run_forked, pod.folder, arguments, environment)
        return _Subprocess([container.__file__, *arguments], pod.folder, environment)

    def __exit__(self, *details: object) -> None:
        for pod in self.pods:
            if pod.process and pod.process.exitcode is None:
                pod.process.kill()
        super().__exit__(*details)


class _Subprocess:
    def __init__(self, arguments: list[str], folder: Path, environment: dict[str, str]) -> None:
        environment = environment | {"PATH": os.environ["PATH"]}
        self._process = subprocess.Popen([sys.executable, *arguments], cwd=folder, env=environment)

    @property
    def exitcode(self) -> int | None:
        return self._process.poll()

    def kill(self) -> None:
        self._process.kill()

    def terminate(self) -> None:
        self._process.terminate()

    def join(self, timeout: float | None = None) -> None:
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return


def _pairs(selector: str) -> set[tuple[str, str]]:
    terms = (term.split("=", 1) for term in selector.split(",") if term)
    return {(key, value) for key, value in terms}


def _labels(job: Manifest) -> dict[str, str]:
    return job["metadata"].get("labels", {})


def wrong_quantity(spec: Manifest) -> str | None:
    """What a cluster says against the resources of a pod, which no schema checks."""
    for container_spec in spec["containers"]:
        resources = container_spec.get("resources", {})
        limits = resources.get("limits", {})
        for name, amount in [*limits.items(), *resources.get("requests", {}).items()]:
            try:
                value = parse_quantity(amount)
            except ValueError:
                return f"resources: {name}: {amount!r} is no quantity"
            if name in limits and value > parse_quantity(limits[name]):
                return f"resources: {name}: more is asked for than the limit allows"
            extended = "/" in name
            if extended and (value % 1 or resources.get("requests", limits).get(name) != amount):
                return f"resources: {name}: must be whole, and the same in requests and limits"
    return None


def _event(pod: Pod, reason: str, message: str) -> Manifest:
    return {
        "metadata": {"name": f"{pod.name}.1", "namespace": "art-rl"},
        "involvedObject": {"kind": "Pod", "name": pod.name},
        "type": "Warning",
        "reason": reason,
        "message": message,
    }
