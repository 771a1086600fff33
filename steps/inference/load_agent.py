"""The hooks of a deployment: load the agent once, release it at the end."""

from __future__ import annotations

import json
import logging
from typing import Any

from zenml.client import Client
from zenml.steps.step_context import get_or_create_run_context

from backends.config import BackendConfig
from backends.policy_server import serve_adapter
from deployment.answer import Checkpoint, Question
from deployment.answerer import Answerer
from environment.email_search import EmailSearchEnvironment
from steps.materializers import scratch_folder
from steps.model_versions import PRODUCTION, adapter_of, data_artifacts, model_version
from steps.open_environment import open_environment
from training.config import RolloutConfig
from training.evaluation.compare import read_rows
from training.run.store import fingerprint, read_policy_record

log = logging.getLogger(__name__)
MODEL_NAME = "email-agent"


def load_agent(
    model_name: str = MODEL_NAME, version: str = PRODUCTION, examples: int = 6
) -> Answerer:
    """The agent of a model version, with the settings it was trained with, over the newest mails.

    Raises:
        MissingArtifact: there is no such version, or no mail database.
        BackendError: the policy cannot be served on this machine.
    """
    found = model_version(model_name, version)
    adapter = adapter_of(found)
    settings = _training_settings(adapter)
    data = {
        name: artifact.load() for name, artifact in data_artifacts(settings["environment"]).items()
    }
    folder = adapter.load()
    record = read_policy_record(folder)
    rollout = RolloutConfig.model_validate(settings["rollout"])
    environment = open_environment(
        settings["environment"], settings["environment_settings"], rollout.max_turns, data
    )
    assert isinstance(environment, EmailSearchEnvironment)
    checkpoint = Checkpoint(
        model=model_name,
        version=str(found.number),
        step=record.step,
        run=record.run,
        trained_on=record.data.get("database", ""),
        mails=fingerprint(data["database"]),
    )
    backend = BackendConfig.model_validate(settings["backend"])
    # A line for every call of the model says nothing that ours do not.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    policy = serve_adapter(backend, folder, scratch_folder())
    answerer = Answerer(
        policy, environment, rollout, checkpoint, _examples(found, environment, examples)
    )
    log.info("serving %s", json.dumps(checkpoint.model_dump()))
    return answerer


def release_agent() -> None:
    answerer = get_or_create_run_context().state
    if isinstance(answerer, Answerer):
        answerer.close()


def _training_settings(adapter: Any) -> dict[str, Any]:
    step = Client().get_run_step(adapter.producer_step_run_id)
    return dict(step.config.parameters["settings"])


def _examples(version: Any, environment: EmailSearchEnvironment, count: int) -> list[Question]:
    """Held-out questions that this version solved when it was evaluated last, of as many kinds as
    there are; any questions about today's mails if it solved none of those."""
    rows = version.get_artifact("evaluation_rows")
    solved = {
        row.scenario_id
        for row in (read_rows(rows.load()) if rows else [])
        if (row.policy, row.mode, row.success) == ("trained", "greedy", True)
    }
    held_out = environment.scenarios("test") or environment.scenarios("train")
    chosen: dict[str, Question] = {}
    for scenario in [one for one in held_out if one.id in solved] or held_out:
        question = Question(
            question=scenario.question,
            inbox_address=scenario.inbox_address,
            query_date=scenario.query_date,
        )
        chosen.setdefault(scenario.kind or scenario.id, question)
    return list(chosen.values())[:count]
