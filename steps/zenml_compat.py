"""What we hold of ZenML 0.98 beside its documented interface, in one place.

``tests/pipelines/test_zenml_compat.py`` has a test for each thing held, which fails by name when an
upgrade moves it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from zenml.enums import ExecutionStatus
from zenml.exceptions import RunStoppedException
from zenml.models import ArtifactVersionResponse
from zenml.orchestrators import publish_utils, step_launcher
from zenml.orchestrators.signal_handler import SignalHandler
from zenml.utils.time_utils import utc_now

if TYPE_CHECKING:
    from zenml.deployers.server import BaseDeploymentAppRunner

log = logging.getLogger(__name__)

# Unfinished where it came from a server inside another response; ZenML then fails to hand the
# artifact to a pipeline.
ArtifactVersionResponse.model_rebuild()


def execute_later(
    app_runner: BaseDeploymentAppRunner, request: Any, run: Any, snapshot: Any
) -> None:
    """Execute a prepared run in the deployment's own pool of threads."""
    service = app_runner.service
    app_runner._executor.submit(service.execute_pipeline_run, request, run, snapshot)


def failed_without_an_error(error: RuntimeError) -> bool:
    """ZenML raises exactly this class where the step operator's job reported no error."""
    return type(error) is RuntimeError


@contextmanager
def cancelled_by_signals(step: str, cancel: Callable[[Any], None]) -> Iterator[None]:
    """While a pipeline runs, a signal cancels this step in the cluster.

    ZenML's own handler leaves the pod running and raises what ``retry`` takes for a failed attempt:
    a Ctrl-C would start a second pod beside the first.
    """

    class Handler(SignalHandler):  # type: ignore[misc]
        def _handle(self, signum: int, frame: FrameType | None) -> None:
            if self._step_run.name != step:
                super()._handle(signum, frame)
            self.unregister()
            log.info("cancelling %s in the cluster", step)
            cancel(self._step_run)
            publish_utils.publish_step_run_status_update(
                step_run_id=self._step_run.id, status=ExecutionStatus.STOPPED, end_time=utc_now()
            )
            raise RunStoppedException

    original = step_launcher.SignalHandler
    step_launcher.SignalHandler = Handler
    try:
        yield
    finally:
        step_launcher.SignalHandler = original
