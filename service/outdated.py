"""Stored plans of another version of the service that this one cannot read."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from environment.base import UserError

Form = TypeVar("Form", bound=BaseModel)


class OutdatedPlan(UserError):
    """The text says what is incompatible, and what to do."""


def read_stored(form: type[Form], plan: dict[str, Any]) -> Form:
    """A stored plan.

    Raises:
        OutdatedPlan: this version cannot read it.
    """
    try:
        return form.model_validate(plan)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise OutdatedPlan(
            f"another version of the service planned it, and this one cannot continue it ({where}: "
            f"{first['msg']}): delete the model, or train another model_name"
        ) from error
