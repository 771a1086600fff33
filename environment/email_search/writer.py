"""A language model writes scenarios from a mailbox.

It sees batches of one inbox's mails and writes questions, each answered by one of them. Its drafts
are checked twice: by rules (``environment.email_search.drafts``), and by asking again, with only the
question and its gold mail, for an answer that must be the same. Every draft is kept, or counted under
the reason it was not.

Mails are data, quoted inside JSON to a model that knows it. Whatever a mail talks it into, a question
can only cite a mail of its own batch, ask for what that mail says, and belong to the batch's inbox.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

from environment.email_search.batches import Batch, plan_batches
from environment.email_search.config import WriterConfig
from environment.email_search.drafts import Seen, fault, scenario_of
from environment.email_search.email_db import EmailDatabase
from environment.email_search.matching import answers_match
from environment.email_search.models import Email, EmailScenario
from environment.email_search.synthesis import MIN_MAILS, largest_inboxes
from environment.email_search.writer_prompts import (
    DRAFTS_PER_BATCH,
    Answer,
    Drafts,
    check_drafts,
    read_prompt,
    write_prompt,
)
from environment.language_model import (
    LlmBudgetSpent,
    LlmFailed,
    StructuredModel,
    WritingReport,
    usage_of,
)

log = logging.getLogger(__name__)

# An inbox is given up after this many drafts per question that is wanted.
_DRAFTS_PER_QUESTION = 3
_FAILURES_IN_A_ROW = 8
_GOES_ON = "fix this and run it again: no reply so far is paid for twice"


class WriterReport(WritingReport):
    ended_by: Literal["done", "budget"]
    inboxes: int
    mails_not_shown: dict[str, int]


Tell = Callable[[int], None]


async def write_scenarios(
    config: WriterConfig,
    model: StructuredModel,
    database: EmailDatabase,
    tell: Tell = lambda done: None,
) -> tuple[list[EmailScenario], WriterReport]:
    """Scenarios from all inboxes, or those written when the model's budget ran out.

    Args:
        tell: called with the number of further questions that are settled.

    Raises:
        LlmFailed: many requests in a row failed, or most batches did: the model seems broken.
    """
    return await _Writer(config, model, database, tell).write()


def questions_wanted(config: WriterConfig, database: EmailDatabase) -> int:
    """At most."""
    return config.questions_per_inbox * len(_inboxes(config, database))


def _inboxes(config: WriterConfig, database: EmailDatabase) -> list[str]:
    return largest_inboxes(database.inboxes(), config.inboxes, MIN_MAILS)


class _Writer:
    def __init__(
        self, config: WriterConfig, model: StructuredModel, database: EmailDatabase, tell: Tell
    ) -> None:
        self._config, self._model, self._database, self._tell = config, model, database, tell
        self._left_out: Counter[str] = Counter()
        self._drafts = self._batches = self._failed_batches = self._failures = 0
        self._budget_spent = False
        self._last_failure = ""

    async def write(self) -> tuple[list[EmailScenario], WriterReport]:
        config = self._config
        planned, not_shown = plan_batches(
            self._database.emails(),
            _inboxes(config, self._database),
            config.mails_per_batch,
            config.batch_chars,
        )
        most = math.ceil(config.questions_per_inbox * _DRAFTS_PER_QUESTION / DRAFTS_PER_BATCH)
        of_inboxes = await asyncio.gather(
            *(self._write_inbox(inbox, batches[:most]) for inbox, batches in planned.items())
        )
        if 2 * self._failed_batches > self._batches:
            raise LlmFailed(
                f"{self._failed_batches} of {self._batches} batches of mails had no usable reply "
                f"from {self._model.config.model}; {_GOES_ON}. The last one: {self._last_failure}"
            )
        kept = [scenario for scenarios in of_inboxes for scenario in scenarios]
        return kept, WriterReport(
            **usage_of(self._model),
            ended_by="budget" if self._budget_spent else "done",
            inboxes=len(planned),
            batches=self._batches,
            batches_failed=self._failed_batches,
            drafts=self._drafts,
            kept=len(kept),
            left_out=dict(sorted((+self._left_out).items())),
            mails_not_shown=dict(sorted(not_shown.items())),
        )

    async def _write_inbox(self, inbox: str, batches: Sequence[Batch]) -> list[EmailScenario]:
        """One batch after another, so that which questions are kept does not depend on timing."""
        wanted = self._config.questions_per_inbox
        kept: list[EmailScenario] = []
        seen = Seen()
        for batch in batches:
            if len(kept) == wanted:
                break
            try:
                questions = await self._write_batch(inbox, batch, seen)
            except LlmBudgetSpent:  # other inboxes go on: their replies may be cached
                self._budget_spent = True
                break
            self._left_out["more_than_asked"] += max(0, len(kept) + len(questions) - wanted)
            questions = questions[: wanted - len(kept)]
            kept += questions
            if questions:
                self._tell(len(questions))
        if len(kept) < wanted:
            self._tell(wanted - len(kept))
        return kept

    async def _write_batch(self, inbox: str, batch: Batch, seen: Seen) -> list[EmailScenario]:
        mails = {
            f"mail-{number}": mail
            for number, message_id in enumerate(batch, start=1)
            if (mail := self._database.read(inbox, message_id)) is not None
        }
        try:
            reply = await self._model.ask(write_prompt(inbox, mails), Drafts, check_drafts)
        except LlmFailed as error:
            self._batches += 1
            self._failed_batches += 1
            self._note_failure(error)
            return []
        self._batches += 1
        self._failures = 0
        self._drafts += len(reply.questions)
        usable = []
        for draft in reply.questions:
            if reason := fault(draft, mails, self._config.min_realism):
                self._left_out[reason] += 1
                continue
            scenario = scenario_of(draft, mails, inbox)
            if seen.again(scenario):
                self._left_out["duplicate"] += 1
                continue
            usable.append((scenario, mails[draft.message_ids[0]]))
        reasons = await asyncio.gather(*(self._verify(*pair) for pair in usable))
        self._left_out.update(filter(None, reasons))
        return [s for (s, _), reason in zip(usable, reasons, strict=True) if not reason]

    async def _verify(self, scenario: EmailScenario, gold: Email) -> str:
        """Why a reader of the gold mail does not reach its answer; empty if one does."""
        try:
            reply = await self._model.ask(read_prompt(scenario, gold), Answer)
        except LlmBudgetSpent:
            self._budget_spent = True
            return "budget_spent"
        except LlmFailed as error:
            self._note_failure(error)
            return "not_verified"
        self._failures = 0
        return "" if answers_match(reply.answer, scenario.answer) else "answered_otherwise"

    def _note_failure(self, error: LlmFailed) -> None:
        log.warning("%s", error)
        self._failures += 1
        self._last_failure = str(error)
        if self._failures >= _FAILURES_IN_A_ROW:
            raise LlmFailed(
                f"{self._failures} requests in a row failed; {_GOES_ON}. The last one: {error}"
            ) from error
