"""Refusals of requests that cannot be carried out."""

from __future__ import annotations

from environment.base import StrictModel

_BODY = "body"


class Refusal(StrictModel):
    """Why a request is refused.

    Args:
        status: the HTTP status.
        loc: the field at fault; empty if none is.
    """

    status: int
    loc: list[str]
    msg: str


class Refused(ValueError):
    """A request that cannot be carried out."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.msg)
        self.refusal = refusal


def refused(field: str, error: Exception | str, status: int = 422) -> Refused:
    return Refused(Refusal(status=status, loc=[_BODY, *field.split(".")], msg=str(error)))
