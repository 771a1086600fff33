"""Deploy a version of the model over HTTP, and roll back to an earlier one."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from zenml import Model
from zenml.client import Client
from zenml.deployers.exceptions import DeployerError

from environment.base import UserError
from pipelines.config import ConfigError, DeploymentConfig, ProjectConfig
from pipelines.deployed import Deployed
from pipelines.inference import deployment_settings, pipeline_of
from pipelines.placement import active_stack
from steps.inference.load_agent import deployable_of
from steps.model_versions import (
    PRODUCTION,
    MissingArtifact,
    data_artifacts,
    model_version,
    production_version,
)
from web.guard import is_loopback

log = logging.getLogger(__name__)


class DeploymentFailed(UserError):
    """The deployment did not become healthy; the message has its last error."""


def run_deploy(config: ProjectConfig, name: str, version: str | None) -> Deployed:
    """Deploy a version (default: the one in production) and wait until it is healthy.

    Raises:
        NotDeployable, DeploymentFailed: see there.
        ConfigError: the stack has no deployer, or a required key is missing.
        MissingArtifact: there is nothing to deploy yet.
    """
    environment = config.environment.name
    inference_pipeline = pipeline_of(environment)
    key = deployment_key(config.deployment)
    with active_stack(config.stack):
        flavor = _deployer_flavor()
        host = config.deployment.host
        local = flavor == "local"
        if config.deployment.key is None and not (local and is_loopback(host)):
            public = (
                f"deployment.host: {host}" if local else f"deployment.key: a {flavor} deployment"
            )
            raise ConfigError(
                f"{public} can be reached from other machines, so deployment.key is required: generate, "
                "or $NAME of an environment variable"
            )
        data_artifacts(environment)
        number = model_version(config.model_name, version or PRODUCTION).number
        pipeline = inference_pipeline.with_options(
            model=Model(name=config.model_name, version=number),
            on_init_kwargs={
                "model_name": config.model_name,
                "version": str(number),
                "examples": config.deployment.examples,
            },
            settings=zenml_settings(config, flavor, key),
        )
        started = time.monotonic()
        try:
            with _reaping_children():
                deployment = pipeline.deploy(name, timeout=config.deployment.start_timeout_s)
        except DeployerError as error:
            raise DeploymentFailed(f"{name} did not start: {error}{_last_error(name)}") from error
    about, example = _introduce(deployment.url, deployment.auth_key)
    example = example or deployable_of(environment).example
    seconds = time.monotonic() - started
    return Deployed(name, deployment.url, deployment.auth_key, seconds, about, example)


def run_rollback(config: ProjectConfig, name: str) -> Deployed:
    """Promote the version that was in production before the current one, and deploy it.

    Raises:
        MissingArtifact: there is none.
    """
    previous = previous_production(config.model_name)
    previous.set_stage(PRODUCTION, force=True)
    log.info("version %s of %s is in production again", previous.number, config.model_name)
    return run_deploy(config, name, str(previous.number))


def previous_production(model_name: str) -> Any:
    """The last version promoted before the one in production. Repeated rollbacks go further back."""
    current = production_version(model_name)
    if current is None:
        raise MissingArtifact(
            f"no version of {model_name} is in production, so there is none to roll back to"
        )
    promoted_at = current.run_metadata.get("promoted_at", "9999")
    earlier = [
        (when, version)
        for page in Client().list_model_versions(model=model_name, sort_by="desc:number", size=200)
        if page.id != current.id
        for version in [Client().get_model_version(model_name, page.number)]
        if (when := version.run_metadata.get("promoted_at", "")) and when < promoted_at
    ]
    if not earlier:
        raise MissingArtifact(
            f"version {current.number} of {model_name} is the first in production, so there is none to "
            "roll back to"
        )
    return max(earlier, key=lambda entry: entry[0])[1]


def deployment_key(config: DeploymentConfig) -> str | None:
    """Raises ``ConfigError`` if the environment variable that it names is not set."""
    if config.key is None or config.key == "generate":
        return None
    name = config.key.removeprefix("$")
    key = os.environ.get(name)
    if not key:
        raise ConfigError(f"deployment.key: the environment variable {name} is not set")
    return key


def zenml_settings(config: ProjectConfig, flavor: str, key: str | None) -> dict[str, Any]:
    """ZenML's settings from the configuration, with those of the deployment section."""
    settings = dict(config.settings)
    deployer = {**settings.pop("deployer", {}), **settings.pop(f"deployer.{flavor}", {})}
    deployer |= {"auth_key": key, "generate_auth_key": config.deployment.key == "generate"}
    if flavor == "local":
        deployer |= {"address": config.deployment.host, "port": config.deployment.port}
    return settings | {
        f"deployer.{flavor}": deployer,
        "deployment": deployment_settings(config.environment.name, config.deployment.record_runs),
    }


def _introduce(url: str, key: str | None) -> tuple[dict[str, Any] | None, dict[str, str] | None]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        with httpx.Client(base_url=url, headers=headers, timeout=10) as client:
            about = client.get("/about").raise_for_status().json()
            examples = client.get("/examples").raise_for_status().json()
    except httpx.HTTPError as error:
        log.warning("%s cannot be reached from this machine: %s", url, error)
        return None, None
    return about, examples[0] if examples else None


def _deployer_flavor() -> str:
    deployer = Client().active_stack.deployer
    if deployer is None:
        raise ConfigError(
            "stack: the active ZenML stack has no deployer; docs/deployment.md has the commands"
        )
    return deployer.flavor


@contextmanager
def _reaping_children() -> Iterator[None]:
    """A deployment that dies during startup would stay a zombie, which ZenML takes for a process that is
    still starting."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)


def _last_error(name: str) -> str:
    try:
        lines = list(Client().get_deployment_logs(name, tail=200))
    except (KeyError, DeployerError):
        return ""
    errors = [line.strip() for line in lines if "Error" in line or "error" in line]
    hint = f"; zenml deployment logs {name} shows the log"
    return f" ({errors[-1]}{hint})" if errors else hint
