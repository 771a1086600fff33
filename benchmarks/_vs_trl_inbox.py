"""The email environment as TRL's ``environment_factory`` wants it, for ``benchmarks.vs_trl``.

The session, its tools, their answers and the reward are ours. What TRL asks for is the shape: a
class with ``reset``, whose public methods are the tools. It offers them by attribute name, in
alphabetical order; the numbered names at the end give the order the policy was trained with, so
that its prompt is the same, token for token.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from pydantic import ValidationError

from backends.tool_calls import parse_tool_calls
from environment.base import Reward, StopReason
from environment.email_search import EmailSearchEnvironment
from environment.email_search.models import EmailScenario
from environment.email_search.tools import ANSWER, READ, SEARCH, EmailSession


class Inbox:
    """The world of one rollout; TRL resets and reuses it. ``timed`` measures what it costs."""

    def __init__(
        self,
        environment: EmailSearchEnvironment,
        scenarios: Sequence[EmailScenario],
        timed: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._environment, self._scenarios, self._timed = environment, scenarios, timed
        self._scenario: EmailScenario
        self._session: EmailSession
        self._tools: dict[str, Any] = {}

    def reset(self, scenario: int, **_: object) -> None:
        with self._timed():
            self._scenario = self._scenarios[scenario]
            self._session = self._environment.session(self._scenario)
            self._tools = {tool.name: tool for tool in self._session.tools}

    def search_inbox_tool(
        self,
        keywords: list[str],
        sender: str | None = None,
        recipient: str | None = None,
        sent_after: str | None = None,
        sent_before: str | None = None,
    ) -> str:
        """Search the inbox for mails by keywords; newest first.

        Args:
            keywords: Words that must all occur in the mail.
            sender: Only mails from this address.
            recipient: Only mails to this address.
            sent_after: YYYY-MM-DD, inclusive.
            sent_before: YYYY-MM-DD, exclusive.
        """
        filters = {
            "sender": sender,
            "recipient": recipient,
            "sent_after": sent_after,
            "sent_before": sent_before,
        }
        return self._call(SEARCH, {"keywords": keywords, **filters})

    def read_email_tool(self, message_id: str) -> str:
        """Read one mail of the inbox.

        Args:
            message_id: The id of a mail, as a search printed it.
        """
        return self._call(READ, {"message_id": message_id})

    def return_final_answer_tool(self, answer: str, source_ids: list[str]) -> str:
        """Give the final answer. This ends the task.

        Args:
            answer: The answer, short; or: I don't know.
            source_ids: Ids of the mails that the answer stands in.
        """
        return self._call(ANSWER, {"answer": answer, "source_ids": source_ids})

    def _call(self, name: str, arguments: dict[str, object]) -> str:
        """A tool's answer. Checked as in our rollouts, but without LangChain around it, which
        would only slow TRL down."""
        with self._timed():
            tool = self._tools[name]
            try:
                checked = tool.args_schema.model_validate(arguments)
            except ValidationError as error:
                self._session.tool_failed()
                first = error.errors()[0]
                return f"error: {'.'.join(map(str, first['loc']))}: {first['msg']}"
            return str(tool.func(**dict(checked)))

    def _score(self, last_reply: str, turns: int, ended: bool) -> Reward:
        """The reward of a rollout, after running the answer call of its last reply."""
        _, calls = parse_tool_calls(last_reply)
        for call in calls:
            if call["function"]["name"] == ANSWER:
                self._call(ANSWER, json.loads(call["function"]["arguments"]))
        with self._timed():
            if self._session.finished:
                stop = StopReason.FINISHED
            elif calls:
                stop = StopReason.OUT_OF_TURNS
            elif not ended:
                stop = StopReason.OVER_LENGTH
            elif "<tool_call>" in last_reply:
                stop = StopReason.MALFORMED_CALL
            else:
                stop = StopReason.NO_TOOL_CALL
            outcome = self._session.outcome(stop, turns)
            self._session.close()
            return self._environment.reward(self._scenario, outcome)


for _number, _name in enumerate((SEARCH, READ, ANSWER)):
    setattr(Inbox, f"tool_{_number}", getattr(Inbox, _name))
    delattr(Inbox, _name)
