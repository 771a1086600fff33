"""A model card as an artifact, since the open-source dashboard has no view of models."""

from __future__ import annotations

from typing import Annotated

from zenml import get_step_context, step
from zenml.client import Client
from zenml.types import HTMLString

from training.report import Version, model_card

_SHOWN = 50


@step(enable_cache=False)
def describe_model(promoted: bool) -> Annotated[HTMLString, "model_card"]:
    """The newest versions with metrics and stages. Takes ``promoted`` only to run after ``promote``."""
    model = get_step_context().model
    page = Client().list_model_versions(model=model.name, sort_by="desc:number", size=_SHOWN)
    versions = [
        Version(
            number=version.number,
            stage=version.stage,
            created=f"{version.created:%Y-%m-%d %H:%M}",
            metadata=Client().get_model_version(model.name, version.number).run_metadata,
        )
        for version in page.items
    ]
    return HTMLString(model_card(model.name, versions))
