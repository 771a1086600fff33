"""How a deployable environment answers user questions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from environment.base import Session, StrictModel


class Unanswerable(LookupError):
    """An invalid question.

    Args:
        field: the question's invalid field.
        kind: a machine-readable code such as ``unknown_inbox``.
    """

    def __init__(self, field: str, kind: str, text: str) -> None:
        super().__init__(text)
        self.field, self.kind = field, kind


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a question.

    Args:
        answer: None if there is none; ``reason`` then says why.
        sources: the sources that support the answer.
    """

    answer: str | None
    sources: list[StrictModel] = field(default_factory=list)
    source_ids: list[str] = field(default_factory=list)
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Deployable:
    """
    Args:
        title, description: shown by the HTTP API.
        question: the request model; all its fields are strings, one is ``question``.
        example: a question to show until the deployment has answered one.
        data: the artifact it answers from; every answer reports its digest.
        check: ``check(environment, question)`` raises ``Unanswerable``.
        session: ``session(environment, question)``.
        finding: ``finding(environment, question, outcome)``.
        question_of: converts a scenario to a question.
        nothing_found: the reply if there is no answer.
    """

    title: str
    description: str
    question: type[StrictModel]
    example: dict[str, str]
    data: str
    check: Callable[[Any, Any], None]
    session: Callable[[Any, Any], Session[Any]]
    finding: Callable[[Any, Any, Any], Finding]
    question_of: Callable[[Any], StrictModel]
    nothing_found: str
