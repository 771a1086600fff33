"""The HTTP endpoints of a deployment, for ZenML's deployment app.

``/invoke`` uses ZenML's envelope. Unless runs are recorded, it calls the agent directly: recording a
request as a pipeline run with its artifacts takes several times as long as answering it.

Handlers are created for the environment's question type, so annotations must not be postponed here.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, HTTPException
from pydantic import Field, create_model
from sse_starlette import EventSourceResponse
from zenml.deployers.server import BaseDeploymentAppRunner
from zenml.deployers.server.models import (
    BaseDeploymentInvocationRequest,
    BaseDeploymentInvocationResponse,
    BaseDeploymentSubmitResponse,
    DeploymentInvocationResponseMetadata,
)
from zenml.exceptions import EntityExistsError
from zenml.steps.step_context import get_or_create_run_context

from deployment.answer import Answer, Checkpoint
from deployment.answerer import Answerer, Unavailable
from deployment.http import add_error_answers, add_page, answer_stream, drain_on_sigterm
from environment.base import StrictModel
from steps.inference.load_agent import deployable_of
from steps.zenml_compat import execute_later
from web.guard import Guard, is_loopback

_GRACE_S = 5.0


class InvokeResponse(BaseDeploymentInvocationResponse):
    """ZenML's envelope around an answer."""

    outputs: Answer | None = None


class About(StrictModel):
    deployment: str
    key_required: bool
    checkpoint: Checkpoint


def _invoke_request(environment: str) -> Any:
    """ZenML's request around a question."""
    return create_model(
        "InvokeRequest",
        __base__=BaseDeploymentInvocationRequest,
        parameters=(deployable_of(environment).question, ...),
        run_name=(str | None, Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")),
    )


def _answerer() -> Answerer:
    answerer = get_or_create_run_context().state
    assert isinstance(answerer, Answerer)
    return answerer


def health(app_runner: BaseDeploymentAppRunner) -> Callable[..., Any]:
    async def check_health() -> dict[str, str]:
        """Whether the deployment can answer questions."""
        if not _answerer().healthy:
            raise Unavailable("the agent cannot answer")
        return {"status": "ok"}

    return check_health


def invoke(
    app_runner: BaseDeploymentAppRunner, environment: str, record_runs: bool = False
) -> Callable[..., Any]:
    form: Any = _invoke_request(environment)

    async def invoke_pipeline(request: form) -> InvokeResponse:
        """Answer a question."""
        answerer = _answerer()
        if record_runs:
            answerer.check(request.parameters)
            recorded = await asyncio.to_thread(app_runner.service.execute_pipeline, request)
            response = recorded.model_dump()
            if response["outputs"]:
                response["outputs"]["reason"] = response["outputs"]["reason"] or None
            return InvokeResponse.model_validate(response)
        started = time.perf_counter()
        answered = await answerer.answer(request.parameters)
        return InvokeResponse(
            success=True,
            outputs=answered.answer,
            execution_time=time.perf_counter() - started,
            metadata=_metadata(app_runner, request),
        )

    return invoke_pipeline


def _metadata(
    app_runner: BaseDeploymentAppRunner, request: Any
) -> DeploymentInvocationResponseMetadata:
    deployment, snapshot = app_runner.deployment, app_runner.snapshot
    return DeploymentInvocationResponseMetadata(
        deployment_id=deployment.id,
        deployment_name=deployment.name,
        snapshot_id=snapshot.id,
        snapshot_name=snapshot.name,
        pipeline_name=snapshot.pipeline_configuration.name,
        parameters_used=request.parameters.model_dump(),
    )


def submit(app_runner: BaseDeploymentAppRunner, environment: str) -> Callable[..., Any]:
    form: Any = _invoke_request(environment)

    async def submit_pipeline(request: form) -> BaseDeploymentSubmitResponse:
        """Answer a question in a recorded pipeline run. Returns its id at once."""
        _answerer().check(request.parameters)
        try:
            run, snapshot = await asyncio.to_thread(
                app_runner.service.prepare_pipeline_run, request
            )
        except EntityExistsError as error:
            raise HTTPException(409, f"run_name: run {request.run_name} exists already") from error
        execute_later(app_runner, request, run, snapshot)
        return BaseDeploymentSubmitResponse(run_id=run.id)

    return submit_pipeline


def stream(app_runner: BaseDeploymentAppRunner, environment: str) -> Callable[..., Any]:
    question = deployable_of(environment).question
    form: Any = create_model("StreamRequest", parameters=(question, ...))

    async def stream_answer(request: form) -> EventSourceResponse:
        """Answer a question as server-sent events: each search, each document opened, then the answer
        with its sources."""
        answerer = _answerer()
        answerer.check(request.parameters)
        return answer_stream(answerer, request.parameters)

    return stream_answer


def examples(app_runner: BaseDeploymentAppRunner) -> Callable[..., Any]:
    async def list_examples() -> list[dict[str, Any]]:
        """Questions to try."""
        return [example.model_dump(mode="json") for example in _answerer().examples]

    return list_examples


def about(app_runner: BaseDeploymentAppRunner) -> Callable[..., Any]:
    async def describe() -> About:
        """Which model answers."""
        deployment = app_runner.deployment
        return About(
            deployment=deployment.name,
            key_required=bool(deployment.auth_key),
            checkpoint=_answerer().checkpoint,
        )

    return describe


def extend(app_runner: BaseDeploymentAppRunner) -> None:
    """Add the page, the guard and error handlers to the app.

    Raises:
        RuntimeError: other machines could reach it without a key.
    """
    key, host = app_runner.deployment.auth_key, app_runner.settings.uvicorn_host
    if not key and not is_loopback(host):
        raise RuntimeError(
            f"this deployment listens on {host} without a key, so anyone who can reach it can read its "
            "data: set deployment.key, or deployment.host to 127.0.0.1"
        )
    app = app_runner.asgi_app
    assert isinstance(app, FastAPI)
    add_page(app)
    add_error_answers(app)
    app.add_middleware(Guard, local_only=not key)


def on_startup(app_runner: BaseDeploymentAppRunner) -> None:
    drain_on_sigterm(_answerer(), _GRACE_S)
