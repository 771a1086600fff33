"""Watch a step in a cluster: cancel it with the command, and explain failures that it cannot report."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from zenml.client import Client
from zenml.enums import ExecutionStatus
from zenml.exceptions import RunStoppedException
from zenml.orchestrators import publish_utils, step_launcher
from zenml.orchestrators.signal_handler import SignalHandler
from zenml.utils.time_utils import utc_now

from environment.base import UserError
from pipelines.config import ProjectConfig
from pipelines.placement import step_operator
from training.run.signals import Interrupted

log = logging.getLogger(__name__)

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
    handler = step_launcher.SignalHandler
    operator = _operator(config, step)
    if operator is not None:
        step_launcher.SignalHandler = _cancels(operator, step)
    try:
        yield
    except RunStoppedException as error:
        cancelled = f", and {step} cancelled in the cluster" if operator else ""
        raise Interrupted(f"stopped{cancelled}; run the same command again to continue") from error
    except RuntimeError as error:
        # ZenML raises exactly this class if the pod reported no error.
        if type(error) is not RuntimeError or operator is None or operator.flavor != _FLAVOR:
            raise
        if (failure := _last_failure(operator, pipeline, step)) is None:
            raise
        raise PodFailed(f"step {step} failed in the cluster: {failure}") from error
    finally:
        step_launcher.SignalHandler = handler


def _operator(config: ProjectConfig, step: str) -> Any | None:
    wanted = config.steps.get(step, {}).get("step_operator")
    return step_operator(wanted) if wanted else None


def _cancels(operator: Any, step: str) -> type[SignalHandler]:
    class Handler(SignalHandler):
        """ZenML's own leaves the pod running and raises an error that ``retry`` takes for a failed
        attempt, so that Ctrl-C would start a second pod beside the first."""

        def _handle(self, signum: int, frame: FrameType | None) -> None:
            if self._step_run.name != step:
                super()._handle(signum, frame)
            self.unregister()
            log.info("cancelling %s in the cluster", step)
            operator.cancel(self._step_run)
            publish_utils.publish_step_run_status_update(
                step_run_id=self._step_run.id, status=ExecutionStatus.STOPPED, end_time=utc_now()
            )
            raise RunStoppedException

    return Handler


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
