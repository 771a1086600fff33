"""Agents on the pocket policy, its server and a real inbox: nothing here is scripted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from openai.types.chat.chat_completion import Choice

from agent.model import ChatModel
from agent.rollout import Limits, Rollout, run_rollout
from backends.packing import rows_of
from environment.base import StopReason
from environment.email_search import EmailSearchEnvironment
from environment.email_search.config import EmailSearchConfig
from environment.email_search.email_db import EmailDatabase, build_database
from environment.email_search.models import Email, EmailScenario
from tests.agent.conftest import ModelOn

ME = "ann@x.com"
NAMES = ("Bob Miller", "Eve Stone", "Carl Jones", "Dora Lake", "Finn Hill", "Gus Marsh")
LIMITS = Limits(max_turns=3, max_tokens=500, timeout_s=120)


@pytest.fixture(scope="module")
def inbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmailSearchEnvironment]:
    path = tmp_path_factory.mktemp("inbox") / "mails.db"
    mails = [
        Email(
            f"<m{n}>",
            f"2001-05-{n + 1:02} 10:00:00",
            "Pager",
            "hr@x.com",
            [ME],
            body=f"The pager of {NAMES[n % 6]} is 555-{1000 + n}.",
        )
        for n in range(30)
    ]
    build_database(path, mails)
    scenarios = [
        EmailScenario(
            id=str(n),
            split="train",
            question=f"What is the pager number of {NAMES[n % 6]} in case {n}?",
            answer=f"555-{1000 + n}",
            message_ids=(f"<m{n}>",),
            inbox_address=ME,
            query_date="2001-06-10",
        )
        for n in range(30)
    ]
    environment = EmailSearchEnvironment(
        EmailDatabase(path), scenarios, EmailSearchConfig(max_hits=2), LIMITS.max_turns
    )
    yield environment
    environment.close()


def choices_of(rollout: Rollout) -> list[Choice]:
    return [
        Choice.model_validate(body["choices"][0] | {"prompt_token_ids": body["prompt_token_ids"]})
        for body in rollout.replies
    ]


def sampled(rollout: Rollout) -> list[list[int]]:
    return [body["choices"][0]["token_ids"] for body in rollout.replies]


async def test_thirty_rollouts_at_once_are_thirty_rollouts(
    inbox: EmailSearchEnvironment, served: Any, model_on: ModelOn
) -> None:
    """Each has its own replies, and the tokens it would have got alone."""
    model: ChatModel = model_on(
        served, name="pocket", tools=inbox.tool_schemas, temperature=1.0, max_tokens=32
    )
    scenarios = inbox.scenarios("train")
    rollouts = await asyncio.gather(
        *(run_rollout(model, inbox, each, LIMITS, int(each.id)) for each in scenarios)
    )
    for scenario, rollout in zip(scenarios, rollouts, strict=True):
        assert rollout.stop not in {StopReason.ERROR, StopReason.TIMEOUT}
        assert len(rollout.replies) == rollout.outcome.turns >= 1
        for body in rollout.replies:
            assert scenario.question in served.policy.tokenizer.decode(body["prompt_token_ids"])
        rows = rows_of(choices_of(rollout))
        written = [t for row in rows for t, w in zip(row.ids, row.written, strict=True) if w]
        assert written == [token for turn in sampled(rollout) for token in turn]
    assert sum(rollout.outcome.turns for rollout in rollouts) > 30
    for n in (0, 17):
        alone = await run_rollout(model, inbox, scenarios[n], LIMITS, int(scenarios[n].id))
        assert sampled(alone) == sampled(rollouts[n])
