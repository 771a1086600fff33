"""The hooks of a deployment: load the agent at startup, release it at shutdown."""

from __future__ import annotations

import json
import logging
from typing import Any

from zenml.client import Client
from zenml.steps.step_context import get_or_create_run_context

from backends.policy_server import serve_adapter
from deployment.answer import Checkpoint
from deployment.answerer import Answerer
from environment.base import Environment, StrictModel, UserError
from environment.deployable import Deployable
from environment.registry import environment_package
from steps.materializers import scratch_folder
from steps.model_versions import PRODUCTION, adapter_of, data_artifacts, model_version
from training.evaluation.compare import read_rows
from training.run.store import fingerprint, read_policy_record
from training.spec import RunSpec

log = logging.getLogger(__name__)
MODEL_NAME = "email-agent"


class NotDeployable(UserError):
    """The environment cannot be deployed."""


def load_agent(
    model_name: str = MODEL_NAME, version: str = PRODUCTION, examples: int = 6
) -> Answerer:
    """The agent of a model version, with its training settings, over the newest data.

    Raises:
        MissingArtifact: there is no such version, or no data.
        BackendError: the policy cannot be served on this machine.
    """
    served = model_version(model_name, version)
    adapter = adapter_of(served)
    spec = training_spec(adapter)
    name = spec.environment["name"]
    deployable = deployable_of(name)
    data = {artifact: version.load() for artifact, version in data_artifacts(name).items()}
    folder = adapter.load()
    record = read_policy_record(folder)
    environment = spec.open_environment(data)
    checkpoint = Checkpoint(
        model=model_name,
        version=str(served.number),
        step=record.step,
        run=record.run,
        trained_on=record.data.get(deployable.data, ""),
        mails=fingerprint(data[deployable.data]),
    )
    # Otherwise httpx logs a line per model call.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    policy = serve_adapter(spec.backend, folder, scratch_folder())
    questions = _examples(served, environment, deployable, examples)
    answerer = Answerer(policy, environment, deployable, spec.rollout, checkpoint, questions)
    log.info("serving %s", json.dumps(checkpoint.model_dump()))
    return answerer


def release_agent() -> None:
    answerer = get_or_create_run_context().state
    if isinstance(answerer, Answerer):
        answerer.close()


def deployable_of(environment: str) -> Deployable:
    """Raises ``NotDeployable`` if the environment cannot answer free questions."""
    deployable = environment_package(environment).deployable
    if deployable is None:
        raise NotDeployable(
            f"environment {environment} cannot be deployed: it answers no free questions"
        )
    return deployable


def training_spec(adapter: Any) -> RunSpec:
    """The spec that the adapter was trained with."""
    parameters = Client().get_run_step(adapter.producer_step_run_id).config.parameters
    if "spec" in parameters:
        return RunSpec.model_validate(parameters["spec"])
    # Trained before runs had specs.
    settings = dict(parameters["settings"])
    name, environment = settings.pop("environment"), settings.pop("environment_settings")
    del settings["run_folder"]
    renamed = {"name": settings.pop("run_name"), "environment": {"name": name} | environment}
    return RunSpec.model_validate(settings | renamed)


def _examples(
    version: Any, environment: Environment[Any, Any], deployable: Deployable, count: int
) -> list[StrictModel]:
    """Held-out questions, one per kind, that this version solved in its last evaluation; any questions
    about the current data if it solved none."""
    rows = version.get_artifact("evaluation_rows")
    solved = {
        row.scenario_id
        for row in (read_rows(rows.load()) if rows else [])
        if (row.policy, row.mode, row.success) == ("trained", "greedy", True)
    }
    held_out = environment.scenarios("test") or environment.scenarios("train")
    chosen: dict[str, StrictModel] = {}
    for scenario in [s for s in held_out if s.id in solved] or held_out:
        chosen.setdefault(scenario.view.kind, deployable.question_of(scenario))
    return list(chosen.values())[:count]
