"""Find an environment by name: the folder ``environment/<name>``.

Its package offers ``Config`` (how the agent sees it), ``DataConfig`` (where its data comes from),
``ARTIFACTS`` (what its data pipeline makes, by name; empty if it needs none) and
``open_environment(artifacts, config, max_turns)``, where ``artifacts`` are those files. It may offer
``check(config, max_turns)``, which raises before any work what would fail later, and ``OPERATORS``:
settings that decide what programs may do to a machine, or in whose account they run, so that a service
takes them from its own configuration and from no request.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import Any, Protocol, cast

import environment
from environment.base import Environment, StrictModel, UserError


class UnknownEnvironment(UserError):
    """No environment of this name; the text lists those there are."""


class EnvironmentPackage(Protocol):
    Config: type[StrictModel]
    DataConfig: type[StrictModel]
    ARTIFACTS: tuple[str, ...]

    def open_environment(
        self, artifacts: dict[str, Path], config: Any, max_turns: int
    ) -> Environment[Any, Any]: ...


def check_environment(config: Any, max_turns: int) -> None:
    """
    Args:
        config: the environment's section of the configuration.

    Raises:
        EnvironmentUnavailable: it cannot work here as configured.
    """
    check = getattr(environment_package(config.name), "check", None)
    if check is not None:
        check(config, max_turns)


def names() -> list[str]:
    return sorted(
        module.name for module in pkgutil.iter_modules(environment.__path__) if module.ispkg
    )


def environment_package(name: str) -> EnvironmentPackage:
    """
    Raises:
        UnknownEnvironment: there is no such folder.
    """
    if name not in names():
        raise UnknownEnvironment(f"no environment {name!r}; there is: {', '.join(names())}")
    return cast("EnvironmentPackage", importlib.import_module(f"environment.{name}"))
