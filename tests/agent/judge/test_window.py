from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.hosted.llm import LanguageModel
from agent.judge import JudgeConfig, RulerJudge
from agent.judge.window import shortened
from environment.language_model import LlmFailed, as_data
from tests.fakes.judge_server import JudgeServer, good, shown

MARK = re.compile(r"\[\.\.\. (\d+) characters cut for the judge \.\.\.\]")
Conversations = list[list[dict[str, Any]]]


def conversation(*results: str, answer: str = "done") -> list[dict[str, Any]]:
    call = {"id": "1", "function": {"name": "search", "arguments": "a" * 50}}
    turns = [
        message
        for result in results
        for message in (
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": result, "tool_call_id": "1"},
        )
    ]
    return [
        {"role": "system", "content": "s" * 150},
        {"role": "user", "content": "u" * 150},
        *turns,
        {"role": "assistant", "content": answer},
    ]


def cut(conversations: Conversations, window_tokens: int) -> Conversations:
    return json.loads(shortened(conversations, as_data, window_tokens))


def results(conversations: Conversations) -> list[str]:
    return [m["content"] for c in conversations for m in c if m["role"] == "tool"]


def others(conversations: Conversations) -> Conversations:
    return [[m for m in c if m["role"] != "tool"] for c in conversations]


def test_what_fits_is_shown_whole() -> None:
    whole = [conversation("x" * 5000), conversation("y")]
    assert cut(whole, 2500) == whole


def test_the_longest_results_are_cut_first_and_to_the_same_length() -> None:
    conversations = [conversation("a" * 9000, "short"), conversation("b" * 7000, "c" * 600)]
    long, short, other, middling = results(cut(conversations, 2000))
    assert (short, middling) == ("short", "c" * 600)
    assert len(MARK.sub("", long)) == len(MARK.sub("", other)) > 600


def test_a_cut_is_in_the_middle_and_says_how_long_it_is() -> None:
    text = "".join(f"{n:05d}" for n in range(2000))
    (result,) = results(cut([conversation(text)], 1000))
    (mark,) = MARK.finditer(result)
    head, tail = result[: mark.start()], result[mark.end() :]
    assert text.startswith(head)
    assert text.endswith(tail)
    assert abs(len(head) - len(tail)) <= 1
    assert len(head) + len(tail) + int(mark[1]) == len(text)


texts = st.text(max_size=3000).map(lambda text: text * 3)


@given(
    st.lists(st.tuples(st.lists(texts, max_size=3), st.text(max_size=60)), min_size=1, max_size=3)
)
def test_what_is_cut_fits_and_the_agents_own_words_stay(
    drawn: list[tuple[list[str], str]],
) -> None:
    whole = [conversation(*tool_results, answer=answer) for tool_results, answer in drawn]
    window = 2500
    short = cut(whole, window)
    assert len(as_data(short).encode()) <= 3 * window
    assert others(short) == json.loads(as_data(others(whole)))
    for before, after in zip(results(json.loads(as_data(whole))), results(short), strict=True):
        mark = MARK.search(after)
        assert before == after or (mark and before.startswith(after[: mark.start()]))


def test_no_more_is_cut_than_needed() -> None:
    conversations = [conversation("a" * 9000)]
    assert len(as_data(cut(conversations, 2000)).encode()) > 3 * 2000 - 10


def test_what_cannot_fit_fails_the_judgement_with_the_numbers() -> None:
    conversations = [conversation("a" * 9000, answer="z" * 4000)]
    with pytest.raises(LlmFailed, match=r"need about 1,\d+ tokens .*window_tokens is 1,000"):
        cut(conversations, 1000)


async def test_the_judge_is_shown_what_it_can_read() -> None:
    group = [conversation("m" * 50_000, answer=f"quality {q}") for q in (0.2, 0.8)]
    with JudgeServer(good) as server:
        config = JudgeConfig(model="openai/judge", api_base=server.base_url, window_tokens=2000)
        judged = await RulerJudge(LanguageModel(config), config).score(group, [])
    assert judged.scores == [0.2, 0.8]
    for request in server.requests:
        assert len(request["messages"][1]["content"].encode()) <= 6000
        assert MARK.search(json.dumps(shown(request)))


async def test_a_group_that_no_cut_makes_fit_is_not_asked_about() -> None:
    group = [conversation("m", answer=f"{q}" * 9000) for q in (1, 2)]
    with JudgeServer(good) as server:
        config = JudgeConfig(model="openai/judge", api_base=server.base_url, window_tokens=2000)
        with pytest.raises(LlmFailed, match="window_tokens is 2,000"):
            await RulerJudge(LanguageModel(config), config).score(group, [])
    assert not server.requests
