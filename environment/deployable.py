"""How an environment answers free questions, for those that can be deployed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from environment.base import Session, StrictModel


class Unanswerable(LookupError):
    """A question that cannot be asked here.

    Args:
        field: of the question, that is wrong.
        kind: one word for programs, such as ``unknown_inbox``.
    """

    def __init__(self, field: str, kind: str, text: str) -> None:
        super().__init__(text)
        self.field, self.kind = field, kind


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of a question.

    Args:
        answer: None if there is none to give; ``reason`` then says why.
        sources: what the answer stands in.
        source_ids: their ids.
    """

    answer: str | None
    sources: list[StrictModel] = field(default_factory=list)
    source_ids: list[str] = field(default_factory=list)
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Deployable:
    """
    Args:
        title, description: of the HTTP API.
        question: what is asked; its fields, ``question`` among them, are texts.
        example: a question, for a deployment that has solved none yet.
        data: the artifact it answers from, whose digest stands in every answer.
        check: ``check(environment, question)`` raises ``Unanswerable``.
        session: ``session(environment, question)``.
        finding: ``finding(environment, question, outcome)``.
        question_of: the question of a scenario.
        nothing_found: the answer where there is none.
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
