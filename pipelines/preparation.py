"""Which pipeline makes an environment's data, and what it is given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.config import ConfigError, ProjectConfig

REPLIES = ".llm-replies"
Prepared = tuple[Any, dict[str, Any]]


def data_pipeline(config: ProjectConfig, runs: Path) -> Prepared:
    """The pipeline that makes the data of the configured environment, and its arguments.

    Args:
        runs: the folder that all runs lie in.

    Raises:
        ConfigError: there is none.
    """
    name = config.environment.name
    if name not in _PREPARED_BY:
        raise ConfigError(
            f"no pipeline makes the data of environment {name}: add one to pipelines/preparation.py "
            "and steps/model_versions.py"
        )
    return _PREPARED_BY[name](config, runs)


def _mails(config: ProjectConfig, runs: Path) -> Prepared:
    from pipelines.data_preparation import data_preparation_pipeline

    arguments = {"data": config.data}
    if config.data.llm_writes:
        # Beside the runs, as a run of another name must not pay for the same replies.
        arguments["writer"] = config.scenario_writer
        arguments["replies"] = runs / REPLIES
    return data_preparation_pipeline, arguments


def _problems(config: ProjectConfig, _: Path) -> Prepared:
    from pipelines.problem_preparation import problem_preparation_pipeline

    arguments = {"data": config.data, "sandbox": config.environment.sandbox}
    return problem_preparation_pipeline, arguments


def _examples(config: ProjectConfig, _: Path) -> Prepared:
    from pipelines.prompt_preparation import prompt_preparation_pipeline

    share = config.environment.held_out_share
    return prompt_preparation_pipeline, {"data": config.data, "held_out_share": share}


_PREPARED_BY: dict[str, Callable[[ProjectConfig, Path], Prepared]] = {
    "code": _problems,
    "email_search": _mails,
    "prompt_task": _examples,
}
