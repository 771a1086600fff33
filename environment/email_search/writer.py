"""Scenarios written by a language model from a mailbox.

Shown a batch of emails from one inbox, the model writes questions that one of them answers. Each
draft is checked twice: by rules (``environment.email_search.drafts``), and by a second request that
must reach the same answer from the question and its gold email alone. Rejected drafts are counted
by reason.

Emails are passed as JSON data, which the prompt declares untrusted. Whatever an email injects, a
question can only cite an email of its batch, ask for what it says, and belong to that inbox.
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
from environment.email_search.drafts import Deduplicator, fault, scenario_of
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

# Give up on an inbox after this many drafts per requested question.
_DRAFTS_PER_QUESTION = 3
_MAX_FAILURES_IN_A_ROW = 8
_RESUMABLE = "fix the cause and rerun: replies so far are cached and not paid for again"


class WriterReport(WritingReport):
    ended_by: Literal["done", "budget"]
    inboxes: int
    mails_not_shown: dict[str, int]


async def write_scenarios(
    config: WriterConfig,
    model: StructuredModel,
    database: EmailDatabase,
    advance: Callable[[int], None] = lambda done: None,
) -> tuple[list[EmailScenario], WriterReport]:
    """Write scenarios for all inboxes, or until the model's budget runs out.

    Args:
        advance: called with the number of newly settled questions.

    Raises:
        LlmFailed: many requests in a row, or most batches, failed.
    """
    return await _Writer(config, model, database, advance).write()


def questions_wanted(config: WriterConfig, database: EmailDatabase) -> int:
    """The maximum number of questions, for a progress bar."""
    return config.questions_per_inbox * len(_inboxes(config, database))


def _inboxes(config: WriterConfig, database: EmailDatabase) -> list[str]:
    return largest_inboxes(database.inboxes(), config.inboxes, MIN_MAILS)


class _Writer:
    def __init__(
        self,
        config: WriterConfig,
        model: StructuredModel,
        database: EmailDatabase,
        advance: Callable[[int], None],
    ) -> None:
        self._config, self._model, self._database = config, model, database
        self._advance = advance
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
                f"{self._model.config.model} gave no usable reply for {self._failed_batches} of "
                f"{self._batches} batches; {_RESUMABLE}. Last failure: {self._last_failure}"
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
        """Batches run one after another, so that the selection does not depend on timing."""
        limit = self._config.questions_per_inbox
        kept: list[EmailScenario] = []
        duplicates = Deduplicator()
        for batch in batches:
            if len(kept) == limit:
                break
            try:
                questions = await self._write_batch(inbox, batch, duplicates)
            except LlmBudgetSpent:  # other inboxes continue: their replies may be cached
                self._budget_spent = True
                break
            self._left_out["more_than_asked"] += max(0, len(kept) + len(questions) - limit)
            questions = questions[: limit - len(kept)]
            kept += questions
            if questions:
                self._advance(len(questions))
        if len(kept) < limit:
            self._advance(limit - len(kept))
        return kept

    async def _write_batch(
        self, inbox: str, batch: Batch, duplicates: Deduplicator
    ) -> list[EmailScenario]:
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
            if duplicates.is_duplicate(scenario):
                self._left_out["duplicate"] += 1
                continue
            usable.append((scenario, mails[draft.message_ids[0]]))
        reasons = await asyncio.gather(*(self._verify(*pair) for pair in usable))
        self._left_out.update(filter(None, reasons))
        return [s for (s, _), reason in zip(usable, reasons, strict=True) if not reason]

    async def _verify(self, scenario: EmailScenario, gold: Email) -> str:
        """Why reading the gold email does not confirm the answer; empty if it does."""
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
        if self._failures >= _MAX_FAILURES_IN_A_ROW:
            raise LlmFailed(
                f"{self._failures} requests in a row failed; {_RESUMABLE}. Last failure: {error}"
            ) from error
