"""The files that environments need, made once in the service's data folder by the same stages that
the data pipeline runs. What is made for one configuration serves all jobs that have it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from environment.package import Work
from environment.registry import environment_package
from environment.tasks import TASK
from service.locks import holding

if TYPE_CHECKING:
    from service.plan import Plan

_PATIENCE_S = 3_600.0
_MADE, _FACTS = "artifacts.json", "facts.json"


def is_shared(plan: Plan) -> bool:
    """Whether any job may use the data: examples are their model's alone, and go with it."""
    return plan.environment["name"] != TASK


def prepare(plan: Plan, folder: Path) -> dict[str, Path]:
    """The artifacts of the plan's environment, by name; made in ``folder`` unless they are there.

    Raises:
        UserError: they cannot be made.
    """
    final = folder / _place(plan)
    with holding(folder / f"{final.name}.lock", _PATIENCE_S):
        if not (final / _MADE).exists():
            partial = final.with_name(f"{final.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            shutil.rmtree(final, ignore_errors=True)
            partial.mkdir(parents=True)
            _make(plan, partial)
            os.replace(partial, final)
    return {name: final / path for name, path in json.loads((final / _MADE).read_text()).items()}


def written_by_model(plan: Plan, folder: Path) -> dict[str, Any] | None:
    """What is known of the stage that asked a hosted model; None if none did."""
    facts = json.loads((folder / _place(plan) / _FACTS).read_text())
    return next((facts[stage.name] for stage in plan.stages() if stage.model is not None), None)


def _make(plan: Plan, folder: Path) -> None:
    wanted = environment_package(plan.environment["name"]).artifacts
    made: dict[str, Path] = {}
    facts: dict[str, Any] = {}
    for stage in plan.stages():
        place = folder / stage.name
        place.mkdir()
        out = place / (stage.file or stage.artifact)
        work = Work(out, lambda settings: _model(settings, folder), _Silent)
        needed = {name: made[name] for name in stage.needs}
        facts[stage.name] = stage.make(work, stage.settings, **needed)
        made[stage.artifact] = out
    for name in made.keys() - set(wanted):
        shutil.rmtree(made[name].parent)
    names = {name: str(made[name].relative_to(folder)) for name in wanted}
    (folder / _FACTS).write_text(json.dumps(facts))
    (folder / _MADE).write_text(json.dumps(names))


def _model(settings: Any, folder: Path) -> Any:
    from agent.hosted.llm import LanguageModel

    # Beside the folder, which is made anew for every attempt: no reply is paid for twice.
    model = LanguageModel(settings, folder.with_name("replies"))
    model.ledger.keep(folder.with_name("spent.json"))
    return model


class _Silent:
    """A job's progress is its events."""

    def __init__(self, total: int, title: str, unit: str) -> None: ...

    def advance(self, shown: dict[str, str], n: int = 1) -> None: ...

    def close(self) -> None: ...


def _place(plan: Plan) -> str:
    """A name for the data, the same for all plans whose data has the same content."""
    name = plan.environment["name"]
    content = json.dumps([name, plan.lasting_data()], sort_keys=True).encode()
    return f"{name}-{hashlib.sha256(content).hexdigest()[:16]}"
