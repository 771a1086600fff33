"""Prepare the data of environments with the stages that the data pipeline runs, once per
configuration, in the training service's data folder."""

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
_ARTIFACTS, _FACTS = "artifacts.json", "facts.json"


def is_shared(plan: Plan) -> bool:
    """Whether jobs of other models may use the data. Examples of a prompt task belong to one model and
    are deleted with it."""
    return plan.environment["name"] != TASK


def prepare(plan: Plan, folder: Path) -> dict[str, Path]:
    """The artifacts of the plan's environment, by name; made in ``folder`` unless they exist.

    Raises:
        UserError: a stage failed.
    """
    final = folder / _folder_name(plan)
    with holding(folder / f"{final.name}.lock", _PATIENCE_S):
        if not (final / _ARTIFACTS).exists():
            partial = final.with_name(f"{final.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            shutil.rmtree(final, ignore_errors=True)
            partial.mkdir(parents=True)
            _make(plan, partial)
            os.replace(partial, final)
    paths = json.loads((final / _ARTIFACTS).read_text())
    return {name: final / path for name, path in paths.items()}


def written_by_model(plan: Plan, folder: Path) -> dict[str, Any] | None:
    """The facts of the stage that used a hosted model; None if none did."""
    facts = json.loads((folder / _folder_name(plan) / _FACTS).read_text())
    return next((facts[stage.name] for stage in plan.stages() if stage.model is not None), None)


def _make(plan: Plan, folder: Path) -> None:
    wanted = environment_package(plan.environment["name"]).artifacts
    outputs: dict[str, Path] = {}
    facts: dict[str, Any] = {}
    for stage in plan.stages():
        place = folder / stage.name
        place.mkdir()
        out = place / (stage.file or stage.artifact)
        work = Work(out, lambda settings: _model(settings, folder), _Silent)
        needed = {name: outputs[name] for name in stage.needs}
        facts[stage.name] = stage.make(work, stage.settings, **needed)
        outputs[stage.artifact] = out
    for name in outputs.keys() - set(wanted):
        shutil.rmtree(outputs[name].parent)
    paths = {name: str(outputs[name].relative_to(folder)) for name in wanted}
    (folder / _FACTS).write_text(json.dumps(facts))
    (folder / _ARTIFACTS).write_text(json.dumps(paths))


def _model(settings: Any, folder: Path) -> Any:
    from agent.hosted.llm import LanguageModel

    # Outside the folder, which every attempt recreates, so that no reply is paid for twice.
    model = LanguageModel(settings, folder.with_name("replies"))
    model.ledger.keep(folder.with_name("spent.json"))
    return model


class _Silent:
    """No progress bar: a job reports through its events."""

    def __init__(self, total: int, title: str, unit: str) -> None: ...

    def advance(self, shown: dict[str, str], n: int = 1) -> None: ...

    def close(self) -> None: ...


def _folder_name(plan: Plan) -> str:
    """The same for all plans whose data has the same content."""
    name = plan.environment["name"]
    content = json.dumps([name, plan.lasting_data()], sort_keys=True).encode()
    return f"{name}-{hashlib.sha256(content).hexdigest()[:16]}"
