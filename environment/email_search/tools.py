"""The email agent's three tools, bound to one inbox.

Whatever the model sends, a tool returns text: hits, an email, or a correction. Emails in other
inboxes are indistinguishable from missing ones, so a prompt injection cannot leak them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from langchain_core.tools import StructuredTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel, BeforeValidator, Field

from environment.base import Session, StopReason
from environment.email_search.config import EmailSearchConfig
from environment.email_search.email_db import BadQuery, EmailDatabase
from environment.email_search.models import Email, EmailOutcome, EmailQuestion, SearchHit

SEARCH = "search_inbox_tool"
READ = "read_email_tool"
ANSWER = "return_final_answer_tool"


def _as_list(value: object) -> object:
    """Wrap a scalar in a list; drop None entries."""
    if isinstance(value, (str, int, float)):
        return [str(value)]
    if isinstance(value, list):
        return [str(item) for item in value if item is not None]
    return value


_Words = Annotated[list[str], BeforeValidator(_as_list)]


class SearchArguments(BaseModel):
    keywords: _Words = Field(description="Words that must all occur in the mail.")
    sender: str | None = Field(None, description="Only mails from this address.")
    recipient: str | None = Field(None, description="Only mails to this address.")
    sent_after: str | None = Field(None, description="YYYY-MM-DD, inclusive.")
    sent_before: str | None = Field(None, description="YYYY-MM-DD, exclusive.")


class ReadArguments(BaseModel):
    message_id: str = Field(description="The id of a mail, as a search printed it.")


class AnswerArguments(BaseModel):
    answer: str = Field(description="The answer, short; or: I don't know.")
    source_ids: _Words = Field(
        default_factory=list, description="Ids of the mails that the answer stands in."
    )


_SPECS: tuple[tuple[str, str, type[BaseModel]], ...] = (
    (SEARCH, "Search the inbox for mails by keywords; newest first.", SearchArguments),
    (READ, "Read one mail of the inbox.", ReadArguments),
    (ANSWER, "Give the final answer. This ends the task.", AnswerArguments),
)


def tool_schemas() -> list[dict[str, Any]]:
    """The tools as OpenAI function schemas."""
    return [
        convert_to_openai_tool(
            StructuredTool(name=name, description=text, args_schema=schema, func=print)
        )
        for name, text, schema in _SPECS
    ]


def format_hits(hits: Sequence[SearchHit]) -> str:
    if not hits:
        return "no mails found"
    return "\n".join(f"{h.message_id} {h.date[:10]} {h.subject}: {h.snippet}" for h in hits)


def format_mail(mail: Email, max_chars: int) -> str:
    body = mail.body
    if len(body) > max_chars:
        body = body[:max_chars] + "\n[cut here]"
    cc = f"\nCc: {', '.join(mail.cc)}" if mail.cc else ""
    return (
        f"From: {mail.sender}\nTo: {', '.join(mail.to)}{cc}\n"
        f"Date: {mail.date[:10]}\nSubject: {mail.subject}\n{body}"
    )


class EmailSession(Session[EmailOutcome]):
    """One rollout's session in an inbox."""

    def __init__(
        self, question: EmailQuestion, database: EmailDatabase, config: EmailSearchConfig
    ) -> None:
        self.user_prompt = (
            f"Inbox: {question.inbox_address}\nToday: {question.query_date}\n{question.question}"
        )
        self._inbox = question.inbox_address
        self._database, self._config = database, config
        self.finished = False
        self._answer: str | None = None
        self._source_ids: tuple[str, ...] = ()
        self._found_ids: set[str] = set()
        self._read_ids: set[str] = set()
        self._searches = self._tool_errors = 0
        functions = (self._search_inbox, self._read_email, self._return_final_answer)
        self.tools = [
            StructuredTool(name=name, description=text, args_schema=schema, func=function)
            for (name, text, schema), function in zip(_SPECS, functions, strict=True)
        ]

    def tool_failed(self) -> None:
        self._tool_errors += 1

    def outcome(self, stop: StopReason, turns: int) -> EmailOutcome:
        return EmailOutcome(
            stop=stop,
            turns=turns,
            tool_errors=self._tool_errors,
            answer=self._answer,
            source_ids=self._source_ids,
            found_ids=frozenset(self._found_ids),
            read_ids=frozenset(self._read_ids),
            searches=self._searches,
        )

    def _search_inbox(self, keywords: list[str], **filters: str | None) -> str:
        self._searches += 1
        try:
            hits = self._database.search(
                self._inbox,
                keywords,
                limit=self._config.max_hits,
                snippet_words=self._config.snippet_words,
                **filters,
            )
        except BadQuery as error:
            self._tool_errors += 1
            self.note("search", keywords=keywords, **filters, error=str(error))
            return f"error: {error}"
        self.note("search", keywords=keywords, **filters, hits=len(hits))
        self._found_ids.update(hit.message_id for hit in hits)
        return format_hits(hits)

    def _read_email(self, message_id: str) -> str:
        mail = self._database.read(self._inbox, message_id)
        if mail is None:
            self._tool_errors += 1
            self.note("read", message_id=message_id, found=False)
            return "error: no mail with this id in the inbox; use an id that a search printed"
        self._read_ids.add(mail.message_id)
        self.note(
            "read",
            message_id=mail.message_id,
            found=True,
            subject=mail.subject,
            sender=mail.sender,
            date=mail.date[:10],
        )
        return format_mail(mail, self._config.max_mail_chars)

    def _return_final_answer(self, answer: str, source_ids: list[str]) -> str:
        self._answer, self._source_ids = answer, tuple(source_ids)
        self.finished = True
        return "done"
