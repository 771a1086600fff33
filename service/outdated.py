"""Plans that another version of the service made, and this one cannot carry out."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from environment.base import UserError

Form = TypeVar("Form", bound=BaseModel)


class OutdatedPlan(UserError):
    """The text says what does not fit, and what to do."""


def read_stored(form: type[Form], plan: dict[str, Any]) -> Form:
    """A plan as a job keeps it.

    Raises:
        OutdatedPlan: it does not fit any more.
    """
    try:
        return form.model_validate(plan)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise OutdatedPlan(
            f"another version of the service planned it, and this one cannot go on with it ({where}: "
            f"{first['msg']}): delete the model, or train another model_name"
        ) from error
