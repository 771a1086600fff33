"""The steps of the data pipeline, one per stage of an environment."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Any

from zenml import log_metadata, step
from zenml.config.cache_policy import CachePolicy
from zenml.steps import BaseStep

from agent.hosted.llm import LanguageModel
from environment.package import Stage, Work
from steps.by_name import with_inputs
from steps.materializers import FileMaterializer, scratch_folder
from training.run.progress import Progress

_MAKES = "__makes__"


def step_of(stage: Stage) -> BaseStep:
    """The step that runs a stage; called with ``arguments_of`` and the artifacts it needs."""
    return _step(stage.name, stage.artifact, stage.needs, (stage.make.__module__, *stage.code))


def arguments_of(stage: Stage, replies: Path) -> dict[str, Any]:
    """
    Args:
        replies: a folder that outlives the run and caches replies of hosted models.
    """
    settings = type(stage.settings)
    return {
        "make": f"{stage.make.__module__}:{stage.make.__name__}",
        "form": f"{settings.__module__}:{settings.__name__}",
        "settings": stage.settings.model_dump(mode="json"),
        "file": stage.file or stage.artifact,
        "fingerprint": stage.fingerprint(),
        "replies": replies if stage.model is not None else None,
    }


def run_stage(
    make: str,
    form: str,
    settings: dict[str, Any],
    file: str,
    fingerprint: str,
    replies: Path | None,
    artifacts: dict[str, Path],
) -> Path:
    """
    Args:
        make, form: ``module:name`` of the stage's function and of its settings class.
        fingerprint: digest of the stage's external inputs; only there to invalidate the cache.
    """
    out = scratch_folder() / file
    work = Work(out, lambda model: LanguageModel(model, replies), Progress)
    facts = _load(make)(work, _load(form).model_validate(settings), **artifacts)
    # ZenML rejects None.
    log_metadata({k: v for k, v in facts.items() if v is not None}, infer_artifact=True)
    return out


def _step(name: str, artifact: str, needs: tuple[str, ...], code: tuple[str, ...] = ()) -> BaseStep:
    attribute = "__of__".join([name + _MAKES + artifact, *needs])
    function = with_inputs(run_stage, needs, attribute, returns=Annotated[Path, artifact])
    return step(
        name=name,
        output_materializers={artifact: FileMaterializer},
        cache_policy=CachePolicy(source_dependencies=sorted(set(code))) if code else None,
    )(function)


def __getattr__(attribute: str) -> BaseStep:
    """A stage's step by function name, for ZenML's source loader."""
    name, makes, rest = attribute.partition(_MAKES)
    if not makes:
        raise AttributeError(attribute)
    artifact, *needs = rest.split("__of__")
    return _step(name, artifact, tuple(needs))


def _load(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
