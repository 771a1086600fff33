"""Look up data artifacts and model versions of earlier runs in ZenML."""

from __future__ import annotations

from typing import Any

from zenml.client import Client

import steps.zenml_compat  # noqa: F401 (repairs the class of artifacts)
from environment.base import UserError
from environment.registry import environment_package

DATA_PIPELINE = "data_preparation"
PRODUCTION = "production"


class MissingArtifact(UserError):
    """A pipeline needs the output of another one; the message names the command to run first."""


def data_tag(environment: str) -> str:
    """The tag of data pipeline runs for this environment."""
    return f"environment:{environment}"


def data_artifacts(environment: str) -> dict[str, Any]:
    """The environment's artifacts from the newest completed data run, by name.

    Raises:
        MissingArtifact: there is no such run.
    """
    names = environment_package(environment).artifacts
    if not names:
        return {}
    runs = Client().list_pipeline_runs(
        pipeline=DATA_PIPELINE,
        tags=[data_tag(environment)],
        status="completed",
        sort_by="desc:created",
        size=1,
    )
    if not runs.items:
        raise MissingArtifact(
            f"there is no data of {environment} yet: run python run.py --pipeline data first, with "
            "the same --config"
        )
    outputs = {
        name: versions[0]
        for step in runs.items[0].steps.values()
        for name, versions in step.outputs.items()
    }
    return {name: outputs[name] for name in names}


def trained_version(model_name: str, version: str | None) -> Any:
    """The version to evaluate; by default the newest with an adapter.

    Raises:
        MissingArtifact: there is none.
    """
    client = Client()
    try:
        if version is not None:
            # ZenML would look up a string of digits as a name.
            key = int(version) if version.isdigit() else version
            return _with_adapter(client.get_model_version(model_name, key), version, model_name)
        for candidate in client.list_model_versions(
            model=model_name, sort_by="desc:number", size=50
        ):
            if adapter_of(candidate) is not None:
                return candidate
    except KeyError as error:
        if version is not None:
            raise MissingArtifact(f"there is no version {version} of {model_name}") from error
    raise MissingArtifact(
        f"no trained version of {model_name} yet: run python run.py --pipeline train first"
    )


def production_version(model_name: str) -> Any | None:
    """The version in production, if any."""
    # Not get_model_version, which returns a lazy version inside a pipeline's body.
    try:
        versions = Client().list_model_versions(model=model_name, stage=PRODUCTION, size=1).items
    except KeyError:
        return None
    return versions[0] if versions else None


def adapter_of(version: Any) -> Any:
    return version.get_artifact("adapter")


def model_version(model_name: str, version: str) -> Any:
    """A version by number or stage.

    Raises:
        MissingArtifact: there is none, or it has no adapter.
    """
    if version != PRODUCTION:
        return trained_version(model_name, version)
    current = production_version(model_name)
    if current is None:
        raise MissingArtifact(
            f"no version of {model_name} is in production: python run.py --pipeline eval promotes "
            "one if it is better than its base; --model-version selects another one"
        )
    return _with_adapter(current, current.number, model_name)


def _with_adapter(version: Any, label: str | int, model_name: str) -> Any:
    if adapter_of(version) is None:
        raise MissingArtifact(f"version {label} of {model_name} has no adapter")
    return version
