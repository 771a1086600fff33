"""A step in a cluster, from the side of the command that sent it there: it stops with the command, and
an end without a word of its own is explained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from zenml.client import Client
from zenml.exceptions import RunStoppedException

from environment.base import UserError
from pipelines.config import ProjectConfig
from steps.zenml_compat import cancelled_by_signals, failed_without_an_error
from training.run.signals import Interrupted

_FLAVOR = "kubernetes"
_EVENTS = 3


class PodFailed(UserError):
    """A step's pod was killed, ran out of time or never started."""


@contextmanager
def watched(config: ProjectConfig, pipeline: str, step: str) -> Iterator[None]:
    """Run a pipeline of which a step operator may run this step. An error that the step itself
    reported passes as it is.

    Raises:
        PodFailed: a pod of Kubernetes ended otherwise; with what the cluster knows of it.
        Interrupted: by a signal to this command, after the step was cancelled.
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
        reason = _last_job(operator, pipeline, step)
        if reason is None:
            raise
        raise PodFailed(f"step {step} failed in the cluster: {reason}") from error


def _operator(config: ProjectConfig, step: str) -> Any | None:
    wanted = config.steps.get(step, {}).get("step_operator")
    if not wanted:
        return None
    operators = Client().active_stack.step_operators
    return operators[wanted] if isinstance(wanted, str) else next(iter(operators.values()))


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
