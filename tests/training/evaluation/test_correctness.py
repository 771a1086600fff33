"""A judge of correctness over the rows of an evaluation, on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from agent.hosted.llm import LanguageModel
from agent.judge import CorrectnessJudge
from environment.language_model import LlmConfig
from tests.fakes.chat_server import ChatServer
from tests.fakes.hosted_models import WRONG, judges, paraphrase
from tests.training.rows import row
from training.evaluation.correctness import agreement, disagreements, judge_rows
from training.evaluation.evaluate import EvaluationRow
from training.evaluation.summaries import compare

# On the judge's server an answer is right if the gold answer stands in it; WRONG gets no verdict.
RIGHT = row("a", "right", True, answer="May 3", matched=True)
WORDY = row("a", "wordy", False, answer=paraphrase("May 3"), reason="wrong_answer")
LUCKY = row("a", "lucky", True, answer="3 May", matched=True)
UNSURE = row("a", "unsure", True, answer=WRONG, matched=True)
SILENT = row("a", "silent", False, answer=None)
FAILED = row("a", "failed", False, answer=None, error="timeout", reason="timeout")
ROWS = [RIGHT, WORDY, LUCKY, UNSURE, SILENT, FAILED]


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer(judges) as served:
        yield served


def judged(
    server: ChatServer, rows: list[EvaluationRow], decides: str = "judge", **changes: float
) -> list[EvaluationRow]:
    config = LlmConfig(model="openai/judge", api_base=server.base_url, **changes)  # type: ignore[arg-type]
    judge = CorrectnessJudge(LanguageModel(config))
    return asyncio.run(judge_rows(rows, judge, decides))  # type: ignore[arg-type]


def test_the_judge_decides_where_it_is_asked_to(server: ChatServer) -> None:
    row_of = {r.scenario_id: r for r in judged(server, ROWS)}
    assert [r.success for r in row_of.values()] == [True, True, False, False, False, False]
    assert [r.judged for r in row_of.values()] == [True, True, False, None, None, None]
    assert row_of["wordy"].reason == "right_by_judge"
    assert row_of["lucky"].reason == "wrong_by_judge"
    assert row_of["right"] == RIGHT.model_copy(update={"judged": True})
    assert (row_of["silent"], row_of["failed"]) == (SILENT, FAILED)


def test_an_answer_without_a_verdict_is_neither_right_nor_wrong(server: ChatServer) -> None:
    rows = judged(server, [RIGHT, UNSURE])
    assert (rows[1].error, rows[1].reason) == ("judge_failed", "judge_failed")
    summary = compare(rows, 0.95).policies["a"]["sampled"]
    assert (summary.success, summary.errors) == (1, {"judge_failed": 1})


def test_beside_the_match_the_judge_changes_nothing_but_its_own_word(server: ChatServer) -> None:
    rows = judged(server, ROWS, "match")
    own = {"judged", "judge_error"}
    assert [r.model_dump(exclude=own) for r in rows] == [r.model_dump(exclude=own) for r in ROWS]
    assert [r.judge_error for r in rows] == ["", "", "", "judge_failed", "", ""]


def test_the_same_answer_is_judged_once(server: ChatServer) -> None:
    again = [r.model_copy(update={"policy": "b", "mode": "greedy"}) for r in (RIGHT, LUCKY)]
    judged(server, [RIGHT, LUCKY, *again, SILENT, FAILED])
    assert len(server.requests) == 2


def test_a_judge_whose_budget_is_spent_gives_no_more_verdicts(server: ChatServer) -> None:
    prices = {"usd_per_million_in": 1e6, "usd_per_million_out": 1e6}
    rows = judged(server, [RIGHT, LUCKY], max_cost_usd=1, concurrency=1, **prices)
    assert sorted(r.error for r in rows) == ["", "judge_budget"]


def test_agreement_is_counted_over_the_answers_with_both_verdicts(server: ChatServer) -> None:
    agreed = agreement(judged(server, ROWS, "match"))
    assert agreed is not None
    assert (agreed.answers, agreed.only_judge, agreed.only_match) == (3, 1, 1)
    assert agreed.share == pytest.approx(1 / 3)
    assert agreed.kappa == pytest.approx(-0.5)  # 1/3 where chance gives 5/9
    assert agreed.failed == {"judge_failed": 1}


def test_without_a_judge_there_is_no_agreement() -> None:
    assert agreement(ROWS) is None


def test_a_judge_that_always_fails_agrees_with_nobody(server: ChatServer) -> None:
    agreed = agreement(judged(server, [UNSURE]))
    assert agreed is not None
    assert (agreed.answers, agreed.share, agreed.kappa) == (0, None, None)


def test_each_answer_on_which_they_differ_is_shown_once(server: ChatServer) -> None:
    twice = [WORDY, WORDY.model_copy(update={"policy": "b"}), LUCKY, RIGHT, UNSURE]
    rows = disagreements(judged(server, twice))
    assert sorted(r.scenario_id for r in rows) == ["lucky", "wordy"]
