"""The inference pipeline: the trained agent answers one question. Deployable over HTTP:

python run.py --pipeline deploy --name my-email-agent
zenml pipeline deploy pipelines.inference.inference_pipeline --name my-email-agent
"""

from __future__ import annotations

import inspect
from typing import Any

from zenml import get_pipeline_context, pipeline
from zenml.config import (
    AppExtensionSpec,
    CORSConfig,
    DeploymentDefaultEndpoints,
    DeploymentDefaultMiddleware,
    DeploymentSettings,
    EndpointMethod,
    EndpointSpec,
    SecureHeadersConfig,
)
from zenml.enums import ExecutionMode

from environment.registry import DEFAULT
from steps.inference import endpoints
from steps.inference.load_agent import MODEL_NAME, deployable_of, load_agent, release_agent
from steps.inference.run_single_inference import step_over
from steps.model_versions import PRODUCTION, data_artifacts, model_version
from web.page import CONTENT_SECURITY_POLICY

_PREFIX = "inference_over_"
_ASK: dict[str, Any] = {
    "responses": {
        422: {"description": "A field is invalid; the message names it."},
        503: {"description": "The agent cannot answer now."},
    }
}


def deployment_settings(environment: str, record_runs: bool = False) -> DeploymentSettings:
    """The web app of a deployment: endpoints, middleware, server options."""
    default, deployable = DeploymentDefaultEndpoints, deployable_of(environment)
    options = {"environment": environment}
    return DeploymentSettings(
        app_title=deployable.title,
        app_description=deployable.description,
        include_default_endpoints=default.DOC | default.HEALTH | default.INFO | default.METRICS,
        # No CORS: other sites must not read answers through a user's browser.
        include_default_middleware=DeploymentDefaultMiddleware.SECURE_HEADERS,
        cors=CORSConfig(allow_origins=[]),
        secure_headers=SecureHeadersConfig(
            csp=CONTENT_SECURITY_POLICY, xfo="DENY", referrer="no-referrer", server=False
        ),
        custom_endpoints=[
            _endpoint("GET", "/health", endpoints.health, auth_required=False),
            _endpoint("GET", "/about", endpoints.about, auth_required=False),
            _endpoint("GET", "/examples", endpoints.examples),
            _endpoint(
                "POST", "/invoke", endpoints.invoke, options | {"record_runs": record_runs}, _ASK
            ),
            _endpoint("POST", "/submit", endpoints.submit, options, _ASK),
            _endpoint("POST", "/stream", endpoints.stream, options, _ASK),
        ],
        app_extensions=[AppExtensionSpec(extension=endpoints.extend)],
        startup_hook=endpoints.on_startup,
        # We cancel requests in flight after five seconds; this is the backstop.
        uvicorn_kwargs={
            "timeout_graceful_shutdown": 8,
            "timeout_keep_alive": 75,  # longer than clients keep an idle connection
            "access_log": False,
            "server_header": False,
        },
    )


def _endpoint(
    method: str,
    path: str,
    handler: Any,
    options: dict[str, Any] | None = None,
    extra: dict[str, Any] | None = None,
    auth_required: bool = True,
) -> EndpointSpec:
    return EndpointSpec(
        path=path,
        method=EndpointMethod(method),
        handler=handler,
        auth_required=auth_required,
        init_kwargs=options or {},
        extra_kwargs=extra or {},
    )


def pipeline_of(environment: str) -> Any:
    """The inference pipeline of an environment; its parameters are the fields of a question.

    Raises:
        NotDeployable: see there.
    """
    fields = deployable_of(environment).question.model_fields

    def inference(**question: str) -> tuple[Any, ...]:
        """
        Raises:
            MissingArtifact: there is no version in production.
        """
        if get_pipeline_context().model is None:
            # Deployed with ZenML's own command: fail here, not in the log of a dead process.
            model_version(MODEL_NAME, PRODUCTION)
            data_artifacts(environment)
        # ZenML makes pipeline outputs of a tuple, but not of the list that a step returns.
        answer = step_over(environment)
        return tuple(answer(**{name: question.get(name, "") for name in fields}))

    kind = inspect.Parameter.KEYWORD_ONLY
    # Defaults let the pipeline compile without a question; the endpoints require all fields.
    parameters = [inspect.Parameter(name, kind, default="", annotation=str) for name in fields]
    inference.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        parameters, return_annotation=tuple[Any, ...]
    )
    inference.__name__ = _PREFIX + environment
    return pipeline(
        name="inference",
        enable_cache=False,
        execution_mode=ExecutionMode.FAIL_FAST,
        on_init=load_agent,
        on_cleanup=release_agent,
        settings={"deployment": deployment_settings(environment)},
    )(inference)


def __getattr__(attribute: str) -> Any:
    """An environment's pipeline by function name, for ZenML's source loader."""
    if not attribute.startswith(_PREFIX):
        raise AttributeError(attribute)
    return pipeline_of(attribute.removeprefix(_PREFIX))


inference_pipeline = pipeline_of(DEFAULT)
