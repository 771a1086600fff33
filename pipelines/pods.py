"""Watch a step in a cluster: cancel it with the command, and explain failures that it cannot report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from zenml.client import Client
from zenml.exceptions import RunStoppedException

from environment.base import UserError
from pipelines.config import ProjectConfig
from pipelines.placement import step_operator
from steps.zenml_compat import cancelled_by_signals, failed_without_an_error
from training.run.signals import Interrupted

_FLAVOR = "kubernetes"
_EVENTS = 3


class PodFailed(UserError):
    """A step's pod was killed, ran out of time or never started."""


@contextmanager
def watched(config: ProjectConfig, pipeline: str, step: str) -> Iterator[None]:
    """Run a pipeline whose step may run in a cluster. Errors that the step reports are left as they are.

    Raises:
        PodFailed: the step's pod failed without reporting an error; has the cluster's explanation.
        Interrupted: by a signal to this command, after cancelling the step.
    """
    operator = _operator(config, step)
    try:
        with cancelled_by_signals(step, operator.cancel) if operator else nullcontext():
            yield
    except RunStoppedException as error:
        cancelled = f", and {step} cancelled in the cluster" if operator else ""
        raise Interrupted(f"stopped{cancelled}; run the same command again to continue") from error
    except RuntimeError as error:
        if operator is None or operator.flavor != _FLAVOR or not failed_without_an_error(error):
            raise
        if (failure := _last_failure(operator, pipeline, step)) is None:
            raise
        raise PodFailed(f"step {step} failed in the cluster: {failure}") from error


def _operator(config: ProjectConfig, step: str) -> Any | None:
    wanted = config.steps.get(step, {}).get("step_operator")
    return step_operator(wanted) if wanted else None


def _last_failure(operator: Any, pipeline: str, step: str) -> str | None:
    """Why the last attempt of the newest run failed; None if its job is gone or did not fail."""
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
    _, name, condition = max(failed, key=lambda job: job[0])
    warnings = kubernetes.CoreV1Api(api).list_namespaced_event(
        namespace, field_selector="involvedObject.kind=Pod,type=Warning"
    )
    events = [
        f"{event.reason}: {event.message}"
        for event in warnings.items
        if event.involved_object.name.startswith(f"{name}-")
    ]
    reasons = "; ".join([f"{condition.reason}: {condition.message}", *events[-_EVENTS:]])
    return f"{reasons} (kubectl -n {namespace} describe job {name})"
