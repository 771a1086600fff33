"""The files that environments need, made once in the service's data folder.

Each environment has a recipe here: plain functions of its own, in the order that its data pipeline
calls them. What is made for one configuration serves all jobs that have it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from environment.registry import UnknownEnvironment
from service.locks import holding

if TYPE_CHECKING:
    from environment.language_model import LlmConfig
    from environment.prompt_task.models import Example

EXAMPLES, WRITTEN = "examples", "written"
REPORT = "examples.json"
_PATIENCE_S = 3_600.0
Recipe = Callable[["Order", Path], dict[str, Path]]


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be made.

    Args:
        environment: its settings, with its name.
        data: its data settings; those of the prompt task hold its examples, or what decides which
            are written.
        writer: writes them.
    """

    environment: dict[str, Any]
    data: dict[str, Any]
    writer: LlmConfig | None = None

    @property
    def place(self) -> str:
        """A name for it, the same for all that has the same content."""
        name = self.environment["name"]
        content = json.dumps([name, self.data], sort_keys=True).encode()
        return f"{name}-{hashlib.sha256(content).hexdigest()[:16]}"

    @property
    def is_shared(self) -> bool:
        """Whether any job may use it: examples are their model's alone, and go with it."""
        return not {EXAMPLES, WRITTEN} & self.data.keys()


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


def prepare(order: Order, folder: Path) -> dict[str, Path]:
    """The artifacts of an environment, by name; made in ``folder`` unless they are there.

    Raises:
        EnvironmentUnavailable, LlmFailed, ProblemError, ScenarioError, SourceError: they cannot be
            made.
    """
    name = order.environment["name"]
    if name not in _RECIPES:
        return {}
    final = folder / order.place
    with holding(folder / f"{final.name}.lock", _PATIENCE_S):
        made = final / "artifacts.json"
        if not made.exists():
            partial = final.with_name(f"{final.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            shutil.rmtree(final, ignore_errors=True)
            partial.mkdir(parents=True)
            files = _RECIPES[name](order, partial)
            names = {key: str(path.relative_to(partial)) for key, path in files.items()}
            (partial / made.name).write_text(json.dumps(names))
            os.replace(partial, final)
        return {key: final / path for key, path in json.loads(made.read_text()).items()}


def report_of(order: Order, folder: Path) -> dict[str, Any] | None:
    """The ``ExamplesReport`` of ``environment.prompt_task.writer``; None if nothing was written."""
    path = folder / order.place / REPORT
    return dict(json.loads(path.read_text())) if path.exists() else None


def _email_search(order: Order, folder: Path) -> dict[str, Path]:
    from environment.email_search import prepare as email
    from environment.email_search.config import EmailDataConfig

    config = EmailDataConfig.model_validate(order.data)
    mails, database, scenarios = folder / "mails", folder / "mails.db", folder / "scenarios.jsonl"
    mails.mkdir()
    email.fetch_mails(email.SourceConfig.of(config), mails)
    email.build(mails, database, config.max_body_chars, config.max_recipients)
    email.make_scenarios(email.ScenarioConfig.of(config), database, scenarios)
    shutil.rmtree(mails)
    return {"database": database, "scenarios": scenarios}


def _code(order: Order, folder: Path) -> dict[str, Path]:
    from environment.code.config import CodeConfig, CodeDataConfig
    from environment.code.prepare import make_problems

    sandbox = CodeConfig.model_validate(order.environment).sandbox
    file = folder / "problems.jsonl"
    make_problems(CodeDataConfig.model_validate(order.data), sandbox, file)
    return {"scenarios": file}


def _prompt_task(order: Order, folder: Path) -> dict[str, Path]:
    from environment.prompt_task.examples import write_examples
    from environment.prompt_task.models import Example

    file = folder / "examples.jsonl"
    if WRITTEN in order.data:
        examples = _written(order, folder)
    else:
        examples = [Example.model_validate(one) for one in order.data[EXAMPLES]]
    write_examples(file, examples)
    return {"scenarios": file}


def _written(order: Order, folder: Path) -> list[Example]:
    from agent.hosted.llm import LanguageModel
    from environment.prompt_task.examples import check_examples
    from environment.prompt_task.writer import write_examples

    assert order.writer is not None
    # Beside the folder, which is made anew for every attempt: no reply is paid for twice.
    model = LanguageModel(order.writer, folder.with_name("replies"))
    model.ledger.keep(folder.with_name("spent.json"))
    asked = order.data[WRITTEN]
    examples, report = asyncio.run(
        write_examples(
            model,
            asked["task_prompt"],
            asked["count"],
            answers=asked["verifier"] is not None,
            verifier=asked["verifier"],
        )
    )
    # Or the model would be left with none for good: the next attempt asks for others.
    check_examples(examples, asked["verifier"])
    (folder / REPORT).write_text(report.model_dump_json())
    return examples


_RECIPES: dict[str, Recipe] = {
    "code": _code,
    "email_search": _email_search,
    "prompt_task": _prompt_task,
}
