"""What Kubernetes has to say of a step that ended without a word of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from zenml.client import Client

from pipelines.config import ProjectConfig

_FLAVOR = "kubernetes"
_EVENTS = 3


class PodFailed(RuntimeError):
    """A step's pod was killed, ran out of time or never started."""


@contextmanager
def pods_explained(config: ProjectConfig, pipeline: str, step: str) -> Iterator[None]:
    """Put what the cluster knows in the place of ZenML's word that a step failed. An error that the
    step itself reported passes as it is.

    Raises:
        PodFailed: of a step that a Kubernetes step operator ran.
    """
    try:
        yield
    except RuntimeError as error:
        # ZenML raises exactly this class where the pod told it no error.
        operator = _operator(config, step) if type(error) is RuntimeError else None
        told = _last_job(operator, pipeline, step) if operator else None
        if told is None:
            raise
        raise PodFailed(f"step {step} failed in the cluster: {told}") from error


def _operator(config: ProjectConfig, step: str) -> Any | None:
    wanted = config.steps.get(step, {}).get("step_operator")
    if not wanted:
        return None
    operators = Client().active_stack.step_operators
    operator = operators[wanted] if isinstance(wanted, str) else next(iter(operators.values()))
    return operator if operator.flavor == _FLAVOR else None


def _last_job(operator: Any, pipeline: str, step: str) -> str | None:
    """The last attempt of the newest run; None if its job is gone or did not fail."""
    from kubernetes import client as kubernetes

    run = Client().list_pipeline_runs(pipeline=pipeline, sort_by="desc:created", size=1).items[0]
    api, namespace = operator.get_kube_client(), operator.config.kubernetes_namespace
    jobs = kubernetes.BatchV1Api(api).list_namespaced_job(
        namespace, label_selector=f"run_id={run.id},step_name={step}"
    )
    failed = [
        (job.metadata.creation_timestamp, job.metadata.name, condition)
        for job in jobs.items
        for condition in job.status.conditions or []
        if condition.type == "Failed"
    ]
    if not failed:
        return None
    _, name, condition = max(failed, key=lambda found: found[0])
    found = kubernetes.CoreV1Api(api).list_namespaced_event(
        namespace, field_selector="involvedObject.kind=Pod,type=Warning"
    )
    events = [
        f"{event.reason}: {event.message}"
        for event in found.items
        if event.involved_object.name.startswith(f"{name}-")
    ]
    told = "; ".join([f"{condition.reason}: {condition.message}", *events[-_EVENTS:]])
    return f"{told} (kubectl -n {namespace} describe job {name})"
