"""Reads configuration files and explains validation errors in plain words."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from environment.base import UserError


class ConfigError(UserError):
    """An invalid configuration; the message names the key and what to write instead."""


def read_yaml(file: Path) -> dict[str, Any]:
    """The sections of a file.

    Raises:
        ConfigError: the file is unreadable, or not a YAML mapping.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {file}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{file} must hold sections such as training:, not {content!r}")
    return content


def explain(error: ValidationError, model: type[BaseModel], secret: Sequence[str] = ()) -> str:
    """Describe the first error; for an unknown key, suggest the closest known one.

    Args:
        secret: keys whose values must not be shown.
    """
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _fields_at(model, first["loc"][:-1])
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(sorted(known))}"
        return f"unknown key {where}: {hint}"
    message = first["msg"].removeprefix("Value error, ")
    if not where:
        return message
    return f"{where}: {message}" + ("" if where in secret else f" (got {first['input']!r})")


def _fields_at(model: type[BaseModel], path: Sequence[int | str]) -> list[str]:
    for part in path:
        if isinstance(part, int):
            continue  # a list index: the list's annotation already gave the model
        field = model.model_fields.get(part)
        inner = (field.annotation, *get_args(field.annotation)) if field else ()
        models = [one for one in inner if isinstance(one, type) and issubclass(one, BaseModel)]
        if not models:
            return []
        model = models[0]
    return list(model.model_fields)
