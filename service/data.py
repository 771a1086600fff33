"""The files that environments need, made once in the service's data folder.

Each environment has a recipe here: plain functions of its own, in the order that its data pipeline
calls them. What is made for one configuration serves all jobs that have it.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from environment.registry import UnknownEnvironment
from service.locks import holding

EXAMPLES = "examples"
_PATIENCE_S = 3_600.0
Recipe = Callable[[dict[str, Any], dict[str, Any], Path], dict[str, Path]]


def check_recipe(name: str, artifacts: Sequence[str]) -> None:
    """
    Raises:
        UnknownEnvironment: the service does not know how to make what this environment needs.
    """
    if artifacts and name not in _RECIPES:
        raise UnknownEnvironment(
            f"the service cannot make the data of environment {name!r}: it knows that of "
            f"{', '.join(sorted(_RECIPES))}"
        )


def check_examples(examples: Sequence[dict[str, Any]], verifier: str | None) -> None:
    """
    Raises:
        EnvironmentUnavailable: the prompt task cannot be trained on these.
    """
    module = _examples_module()
    made = module.different([module.Example.model_validate(one) for one in examples])
    module.check_examples(made, verifier)


def prepare(environment: dict[str, Any], data: dict[str, Any], folder: Path) -> dict[str, Path]:
    """The artifacts of an environment, by name; made in ``folder`` unless they are there.

    Args:
        environment: its settings, with its name.
        data: its data settings; those of the prompt task hold its examples.

    Raises:
        EnvironmentUnavailable, ProblemError, ScenarioError, SourceError: they cannot be made.
    """
    name = environment["name"]
    if name not in _RECIPES:
        return {}
    digest = hashlib.sha256(json.dumps([name, data], sort_keys=True).encode()).hexdigest()[:16]
    final = folder / f"{name}-{digest}"
    with holding(folder / f"{final.name}.lock", _PATIENCE_S):
        made = final / "artifacts.json"
        if not made.exists():
            partial = final.with_name(f"{final.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            shutil.rmtree(final, ignore_errors=True)
            partial.mkdir(parents=True)
            files = _RECIPES[name](environment, data, partial)
            names = {key: str(path.relative_to(partial)) for key, path in files.items()}
            (partial / made.name).write_text(json.dumps(names))
            os.replace(partial, final)
        return {key: final / path for key, path in json.loads(made.read_text()).items()}


def _email_search(
    environment: dict[str, Any], data: dict[str, Any], folder: Path
) -> dict[str, Path]:
    from environment.email_search import prepare as email
    from environment.email_search.config import EmailDataConfig

    config = EmailDataConfig.model_validate(data)
    mails, database, scenarios = folder / "mails", folder / "mails.db", folder / "scenarios.jsonl"
    mails.mkdir()
    email.fetch_mails(email.SourceConfig.of(config), mails)
    email.build(mails, database, config.max_body_chars, config.max_recipients)
    email.make_scenarios(email.ScenarioConfig.of(config), database, scenarios)
    shutil.rmtree(mails)
    return {"database": database, "scenarios": scenarios}


def _code(environment: dict[str, Any], data: dict[str, Any], folder: Path) -> dict[str, Path]:
    from environment.code.config import CodeConfig, CodeDataConfig
    from environment.code.prepare import make_problems

    sandbox = CodeConfig.model_validate(environment).sandbox
    file = folder / "problems.jsonl"
    make_problems(CodeDataConfig.model_validate(data), sandbox, file)
    return {"scenarios": file}


def _prompt_task(
    environment: dict[str, Any], data: dict[str, Any], folder: Path
) -> dict[str, Path]:
    module = _examples_module()
    file = folder / "examples.jsonl"
    made = [module.Example.model_validate(one) for one in data[EXAMPLES]]
    module.write_examples(file, module.different(made))
    return {"scenarios": file}


def _examples_module() -> Any:
    return importlib.import_module("environment.prompt_task.examples")


_RECIPES: dict[str, Recipe] = {
    "code": _code,
    "email_search": _email_search,
    "prompt_task": _prompt_task,
}
