"""What earlier runs left in ZenML: data artifacts, and versions of the model."""

from __future__ import annotations

from typing import Any

from zenml.client import Client

import steps.zenml_compat  # noqa: F401 (repairs the class of artifacts)
from environment.base import UserError
from environment.registry import environment_package

DATA_PIPELINE = "data_preparation"
PRODUCTION = "production"


class MissingArtifact(UserError):
    """A pipeline that needs what another one makes; the text names the command to run first."""


def data_tag(environment: str) -> str:
    """Marks the runs of the data pipeline that made this environment's data."""
    return f"environment:{environment}"


def data_artifacts(environment: str) -> dict[str, Any]:
    """The artifacts of the newest completed data run that this environment needs, by name.

    Raises:
        MissingArtifact: there is none yet.
    """
    wanted = environment_package(environment).artifacts
    if not wanted:
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
    made = {
        name: versions[0]
        for step in runs.items[0].steps.values()
        for name, versions in step.outputs.items()
    }
    return {name: made[name] for name in wanted}


def trained_version(model_name: str, version: str | None) -> Any:
    """The version to evaluate: the one asked for, or the newest that holds an adapter.

    Raises:
        MissingArtifact: there is none.
    """
    client = Client()
    try:
        if version is not None:
            # A text of digits would be looked up as a name.
            key = int(version) if version.isdigit() else version
            found = client.get_model_version(model_name, key)
            if adapter_of(found) is None:
                raise MissingArtifact(f"version {version} of {model_name} holds no adapter")
            return found
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
    """What is in production, if anything is."""
    # A list: in the body of a pipeline get_model_version gives a promise of a version instead.
    try:
        found = Client().list_model_versions(model=model_name, stage=PRODUCTION, size=1)
    except KeyError:
        return None
    return found.items[0] if found.items else None


def adapter_of(version: Any) -> Any:
    return version.get_artifact("adapter")


def model_version(model_name: str, version: str) -> Any:
    """A version by number, or by the stage it is in.

    Raises:
        MissingArtifact: there is none, or it holds no adapter.
    """
    if version != PRODUCTION:
        return trained_version(model_name, version)
    found = production_version(model_name)
    if found is None:
        raise MissingArtifact(
            f"no version of {model_name} is in production: python run.py --pipeline eval promotes "
            "one if it is better than its base; --model-version takes another one"
        )
    if adapter_of(found) is None:
        raise MissingArtifact(f"version {found.number} of {model_name} holds no adapter")
    return found
