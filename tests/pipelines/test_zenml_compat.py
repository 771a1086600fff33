"""Each thing that we hold of ZenML beside its interface is still there."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from zenml.deployers.server import BaseDeploymentAppRunner
from zenml.enums import ExecutionStatus
from zenml.exceptions import RunStoppedException
from zenml.models import ArtifactVersionResponse
from zenml.orchestrators import publish_utils, step_launcher
from zenml.orchestrators.signal_handler import SignalHandler

from steps.zenml_compat import cancelled_by_signals, execute_later, failed_without_an_error


def parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_the_class_of_artifacts_is_finished() -> None:
    assert ArtifactVersionResponse.__pydantic_complete__


def test_a_deployment_executes_runs_in_its_pool() -> None:
    submit = inspect.getsource(BaseDeploymentAppRunner._build_submit_endpoint)
    assert "self._executor.submit(" in submit
    assert "execute_pipeline_run" in submit


def test_a_run_is_executed_with_the_deployments_service() -> None:
    calls: list[tuple[Any, ...]] = []
    service = SimpleNamespace(execute_pipeline_run=lambda *arguments: calls.append(arguments))
    pool = SimpleNamespace(submit=lambda function, *arguments: function(*arguments))
    runner: Any = SimpleNamespace(service=service, _executor=pool)
    execute_later(runner, "request", "run", "snapshot")
    assert calls == [("request", "run", "snapshot")]


def test_the_launcher_looks_its_handler_up_by_name() -> None:
    assert "= SignalHandler(" in inspect.getsource(step_launcher.StepLauncher.launch)
    assert step_launcher.SignalHandler is SignalHandler


def test_a_handler_is_told_the_step_and_how_a_signal_ended_it() -> None:
    assert parameters(SignalHandler) == ["step_run", "execution_mode"]
    assert parameters(SignalHandler._handle) == ["self", "signum", "frame"]
    assert "self._step_run = step_run" in inspect.getsource(SignalHandler.__init__)


def test_a_signal_cancels_the_step_and_marks_it_as_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    published: list[dict[str, Any]] = []
    monkeypatch.setattr(
        publish_utils, "publish_step_run_status_update", lambda **update: published.append(update)
    )
    cancelled: list[Any] = []
    step: Any = SimpleNamespace(id="the id", name="train_agent")
    with cancelled_by_signals("train_agent", cancelled.append):
        handler = step_launcher.SignalHandler(step, None)
        with pytest.raises(RunStoppedException):
            handler._handle(15, None)
    assert cancelled == [step]
    assert [(u["step_run_id"], u["status"]) for u in published] == [
        ("the id", ExecutionStatus.STOPPED)
    ]
    assert step_launcher.SignalHandler is SignalHandler


def test_a_job_without_an_error_raises_exactly_a_runtime_error() -> None:
    class Reported(RuntimeError):
        pass

    assert failed_without_an_error(RuntimeError("Step failed."))
    assert not failed_without_an_error(Reported("by the step"))
    assert "raise RuntimeError(" in inspect.getsource(step_launcher)
