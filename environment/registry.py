"""Looks up environments by name: the folder ``environment/<name>`` and its ``PACKAGE``."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import environment
from environment.base import UserError
from environment.package import EnvironmentPackage

DEFAULT = "email_search"


class UnknownEnvironment(UserError):
    """There is no environment of this name; the message lists those available."""


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
        raise UnknownEnvironment(f"no environment {name!r}; available: {', '.join(names())}")
    package: EnvironmentPackage = importlib.import_module(f"environment.{name}").PACKAGE
    return package


def check_environment(config: Any, max_turns: int) -> None:
    """
    Args:
        config: the environment's section of the configuration.

    Raises:
        EnvironmentUnavailable: it cannot run here as configured.
    """
    environment_package(config.name).check(config, max_turns)
