"""The model's page: its versions, where each came from, how well it did and where it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from training.report.page import page


class Version(BaseModel):
    """One version of a model and the metadata that training and evaluation gave it."""

    number: int
    stage: str | None
    created: str
    metadata: Mapping[str, Any]


def model_card(name: str, versions: Sequence[Version]) -> str:
    """
    Args:
        versions: newest first; at least one.
    """
    serving = next((version.number for version in versions if version.stage == "production"), None)
    return page("model", f"Model {name}", versions=versions, serving=serving)
