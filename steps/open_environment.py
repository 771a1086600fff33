"""Open an environment over the artifacts that its data pipeline made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from environment.base import Environment
from environment.registry import environment_package


def open_environment(
    name: str, settings: dict[str, Any], max_turns: int, artifacts: dict[str, Path | None]
) -> Environment[Any, Any]:
    """
    Args:
        settings: the environment's section of the configuration.
        artifacts: by name; those that this environment does not have are None.
    """
    package = environment_package(name)
    present = {key: path for key, path in artifacts.items() if path is not None}
    return package.open_environment(present, package.Config.model_validate(settings), max_turns)
