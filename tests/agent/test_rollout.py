from __future__ import annotations

import asyncio
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from agent.model import ChatModel
from agent.rollout import Limits, Rollout, run_rollout, seed_from
from environment.base import StopReason, off_the_clock
from tests.agent.conftest import ModelOn
from tests.agent.words import LookUp, WordEnvironment, WordScenario
from tests.fakes.chat_server import (
    LOGPROB,
    ChatServer,
    Script,
    by_turn,
    calls,
    fails,
    late,
    prompt_ids,
    reply,
    says,
    sends,
    silence,
)

LOOK_UP, ANSWER = calls(("look_up", {"word": "tax"})), calls(("answer", {"answer": "a levy"}))
SCENARIO = WordScenario(id="1")
LIMITS = Limits(max_turns=4, max_tokens=100_000, timeout_s=30)


async def rollout_of(
    model_on: ModelOn,
    environment: WordEnvironment,
    *scripts: Script,
    limits: Limits = LIMITS,
    seed: int | None = None,
    **settings: Any,
) -> Rollout:
    with ChatServer(*scripts) as server:
        model = model_on(server, **settings)
        return await run_rollout(model, environment, SCENARIO, limits, seed)


STOPS: list[tuple[str, list[Script], StopReason, int]] = [
    ("finishing call", [LOOK_UP, ANSWER], StopReason.FINISHED, 2),
    ("plain text", [LOOK_UP, says("It is a levy.")], StopReason.NO_TOOL_CALL, 2),
    ("nothing at all", [says("")], StopReason.NO_TOOL_CALL, 1),
    ("call left in the text", [says('<tool_call>{"name": ')], StopReason.MALFORMED_CALL, 1),
    ("arguments no JSON", [calls(("look_up", '{"word": "t'))], StopReason.MALFORMED_CALL, 1),
    ("arguments a list", [calls(("look_up", '["tax"]'))], StopReason.MALFORMED_CALL, 1),
    (
        "good call beside a bad one",
        [calls(("look_up", {"word": "a"}), ("look_up", "{"))],
        StopReason.MALFORMED_CALL,
        1,
    ),
    ("calls without end", [LOOK_UP], StopReason.OUT_OF_TURNS, 4),
    ("text cut off", [says("Let me th", "length")], StopReason.OVER_LENGTH, 1),
    ("call cut off", [says('<tool_call>{"na', "length")], StopReason.OVER_LENGTH, 1),
    (
        "arguments cut off",
        [calls(("look_up", '{"word'), finish_reason="length")],
        StopReason.OVER_LENGTH,
        1,
    ),
    (
        "prompt too long at once",
        [fails(400, "context_length_exceeded")],
        StopReason.OVER_LENGTH,
        0,
    ),
    (
        "prompt too long later",
        [LOOK_UP, fails(400, "context_length_exceeded")],
        StopReason.OVER_LENGTH,
        1,
    ),
    ("server broken", [fails(500)], StopReason.ERROR, 0),
    ("server breaks down", [LOOK_UP, fails(500)], StopReason.ERROR, 1),
    ("request refused", [fails(400, "bad_tools")], StopReason.ERROR, 0),
    ("wrong key", [fails(401)], StopReason.ERROR, 0),
]


@pytest.mark.parametrize(
    ("scripts", "stop", "turns"), [s[1:] for s in STOPS], ids=[s[0] for s in STOPS]
)
async def test_a_rollout_ends_for_one_reason(
    model_on: ModelOn,
    words: WordEnvironment,
    scripts: list[Script],
    stop: StopReason,
    turns: int,
) -> None:
    rollout = await rollout_of(model_on, words, *scripts)
    assert (rollout.stop, rollout.outcome.turns) == (stop, turns)
    assert rollout.reward.reason == stop
    assert bool(rollout.error) == (stop is StopReason.ERROR)
    assert [session.closed for session in words.sessions] == [1]


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "overloaded", "code": 529}},
        {"choices": None},
        {"choices": []},
        "<html>",
    ],
    ids=["error with status 200", "null choices", "no choices", "a web page"],
)
async def test_a_server_that_answers_nonsense_ends_the_rollout_and_not_the_run(
    model_on: ModelOn, words: WordEnvironment, body: object
) -> None:
    kind = "text/html" if isinstance(body, str) else "application/json"
    rollout = await rollout_of(model_on, words, sends(body, kind))
    assert rollout.stop is StopReason.ERROR
    assert rollout.error
    assert words.sessions[0].closed == 1


async def test_a_key_that_a_server_repeats_is_in_no_error(
    model_on: ModelOn, words: WordEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "hidden-value-123")
    rollout = await rollout_of(model_on, words, fails(401, message="who is hidden-value-123?"))
    assert "who is [secret]?" in rollout.error


async def test_vllms_refusal_of_a_long_prompt_is_over_length(
    model_on: ModelOn, words: WordEnvironment
) -> None:
    message = (
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens "
        "in the messages. Please reduce the length of the messages."
    )
    rollout = await rollout_of(model_on, words, LOOK_UP, fails(400, 400, message))
    assert rollout.stop is StopReason.OVER_LENGTH


async def test_a_server_that_recovers_is_asked_again(
    model_on: ModelOn, words: WordEnvironment
) -> None:
    rollout = await rollout_of(model_on, words, fails(500), LOOK_UP, fails(429), ANSWER)
    assert rollout.stop is StopReason.FINISHED
    assert len(rollout.replies) == 2


async def test_the_token_budget_of_the_conversation_ends_it(
    model_on: ModelOn, words: WordEnvironment
) -> None:
    free = await rollout_of(model_on, words, LOOK_UP)
    lengths = [reply["usage"]["total_tokens"] for reply in free.replies]
    bound = Limits(max_turns=4, max_tokens=lengths[1], timeout_s=30)
    rollout = await rollout_of(model_on, words, LOOK_UP, limits=bound)
    assert (rollout.stop, rollout.outcome.turns) == (StopReason.OVER_LENGTH, 2)


async def test_an_answer_in_the_last_turn_and_over_budget_still_counts(
    model_on: ModelOn, words: WordEnvironment
) -> None:
    bound = Limits(max_turns=2, max_tokens=1, timeout_s=30)
    rollout = await rollout_of(model_on, words, ANSWER, limits=bound)
    assert rollout.stop is StopReason.FINISHED


async def test_a_silent_server_is_a_timeout_of_the_rollout(
    model_on: ModelOn, words: WordEnvironment
) -> None:
    bound = Limits(max_turns=4, max_tokens=100_000, timeout_s=0.3)
    rollout = await rollout_of(model_on, words, LOOK_UP, silence, limits=bound)
    assert (rollout.stop, rollout.outcome.turns) == (StopReason.TIMEOUT, 1)
    assert "0.3 s" in rollout.error
    assert words.sessions[0].closed == 1


async def test_a_request_that_times_out_again_and_again_is_a_timeout(
    model_on: ModelOn, words: WordEnvironment
) -> None:
    rollout = await rollout_of(model_on, words, silence, timeout_s=0.1)
    assert rollout.stop is StopReason.TIMEOUT
    assert rollout.error


BAD_CALLS: list[tuple[str, str, dict[str, Any], str]] = [
    ("unknown tool", "find", {"word": "tax"}, "error: there is no tool find; the tools are look_up, answer"),
    ("missing argument", "look_up", {}, "error: word: "),
    ("wrong type", "look_up", {"word": ["tax"]}, "error: word: "),
    ("misnamed argument", "look_up", {"words": "tax"}, "error: word: "),
    ("a call for arguments", "look_up", {"type": "tool_call"}, "error: word: "),
    ("a whole call for arguments", "look_up", {"type": "tool_call", "id": "1", "args": {}}, "error: word: "),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "arguments", "observation"), [b[1:] for b in BAD_CALLS], ids=[b[0] for b in BAD_CALLS]
)
async def test_a_bad_call_is_an_observation_and_a_counted_error(
    model_on: ModelOn,
    words: WordEnvironment,
    name: str,
    arguments: dict[str, Any],
    observation: str,
) -> None:
    rollout = await rollout_of(model_on, words, calls((name, arguments)), ANSWER)
    assert rollout.stop is StopReason.FINISHED
    assert rollout.messages[3]["content"].startswith(observation)
    assert rollout.outcome.tool_errors == 1


async def test_text_that_is_no_unicode_does_not_end_the_run(
    model_on: ModelOn, words: WordEnvironment
) -> None:
    call = calls(("look_up", '{"word": "\\ud800"}'))
    rollout = await rollout_of(model_on, words, call, ANSWER)
    assert rollout.stop in {StopReason.FINISHED, StopReason.MALFORMED_CALL}
    assert words.sessions[0].closed == 1


def schema_fault() -> ValidationError:
    with pytest.raises(ValidationError) as raised:
        LookUp.model_validate({})
    return raised.value


@pytest.mark.parametrize(
    "fault",
    [OSError("disk"), RuntimeError("bug"), TimeoutError("sandbox"), schema_fault()],
    ids=lambda fault: type(fault).__name__,
)
async def test_a_fault_of_a_tool_is_raised(model_on: ModelOn, fault: Exception) -> None:
    broken = WordEnvironment(fault=fault)
    with pytest.raises(type(fault)):
        await rollout_of(model_on, broken, LOOK_UP, ANSWER)
    assert broken.sessions[0].closed == 1


async def test_a_fault_of_the_reward_is_raised(model_on: ModelOn) -> None:
    broken = WordEnvironment(reward_fault=ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await rollout_of(model_on, broken, ANSWER)
    assert broken.sessions[0].closed == 1


async def test_a_cancelled_rollout_closes_its_session(
    model_on: ModelOn, words: WordEnvironment
) -> None:
    requested = asyncio.Event()
    loop = asyncio.get_running_loop()

    def never(request: dict[str, Any]) -> Any:
        loop.call_soon_threadsafe(requested.set)
        return silence(request)

    task = asyncio.create_task(rollout_of(model_on, words, never))
    await requested.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert words.sessions[0].closed == 1


async def test_several_calls_of_one_reply_are_all_answered_until_the_final_one(
    model_on: ModelOn, words: WordEnvironment
) -> None:
    both = calls(
        ("look_up", {"word": "a"}),
        ("look_up", {"word": "b"}),
        ("answer", {"answer": "x"}),
        ("look_up", {"word": "c"}),
    )
    rollout = await rollout_of(model_on, words, both)
    seen = [m["content"] for m in rollout.messages if m["role"] == "tool"]
    assert seen == ["a is a word", "b is a word", "done"]
    assert rollout.outcome.turns == 1


async def test_the_conversation_is_in_openais_form(
    model_on: ModelOn, words: WordEnvironment
) -> None:
    rollout = await rollout_of(model_on, words, LOOK_UP, ANSWER)
    call = {"name": "look_up", "arguments": '{"word": "tax"}'}
    assert rollout.messages[:4] == [
        {"role": "system", "content": "You know words."},
        {"role": "user", "content": "What is tax?"},
        {
            "role": "assistant",
            "content": rollout.messages[2]["content"],
            "tool_calls": [{"type": "function", "id": "call_0", "function": call}],
        },
        {
            "role": "tool",
            "content": "tax is a word",
            "tool_call_id": "call_0",
            "name": "look_up",
        },
    ]
    assert [message["role"] for message in rollout.messages[4:]] == ["assistant", "tool"]


async def test_a_call_that_could_not_be_read_stays_in_the_conversation(
    model_on: ModelOn, words: WordEnvironment
) -> None:
    """A judge must see what was done badly."""
    rollout = await rollout_of(model_on, words, calls(("look_up", '{"word": "t')))
    assert "look_up" in str(rollout.messages[2])


async def test_what_the_server_sampled_is_kept_turn_by_turn(
    model_on: ModelOn, words: WordEnvironment
) -> None:
    with ChatServer(LOOK_UP, ANSWER) as server:
        rollout = await run_rollout(model_on(server), words, SCENARIO, LIMITS)
    for body, request in zip(rollout.replies, server.requests, strict=True):
        choice = body["choices"][0]
        assert body["prompt_token_ids"] == prompt_ids(request["messages"])
        assert choice["token_ids"]
        assert {entry["logprob"] for entry in choice["logprobs"]["content"]} == {LOGPROB}
    usages = [body["usage"] for body in rollout.replies]
    assert rollout.prompt_tokens == sum(usage["prompt_tokens"] for usage in usages)
    assert rollout.completion_tokens == sum(usage["completion_tokens"] for usage in usages)


async def test_a_server_without_usage_counts_as_no_tokens(
    model_on: ModelOn, words: WordEnvironment
) -> None:
    def no_usage(request: dict[str, Any]) -> Any:
        return sends(reply(request, {"content": "hi"}, "stop", usage=False))(request)

    rollout = await rollout_of(model_on, words, no_usage)
    assert (rollout.prompt_tokens, rollout.completion_tokens) == (0, 0)


async def test_each_turn_has_its_own_seed_and_the_same_one_in_every_run(
    model_on: ModelOn, words: WordEnvironment
) -> None:
    seeds = []
    for seed in (7, 7, 8):
        with ChatServer(LOOK_UP, LOOK_UP, ANSWER) as server:
            await run_rollout(model_on(server), words, SCENARIO, LIMITS, seed)
        seeds.append([request["seed"] for request in server.requests])
    assert seeds[0] == seeds[1] == [seed_from(7, turn) for turn in range(3)]
    assert len({*seeds[0], *seeds[2]}) == 6


async def test_without_a_seed_none_is_sent(model_on: ModelOn, words: WordEnvironment) -> None:
    with ChatServer(ANSWER) as server:
        await run_rollout(model_on(server), words, SCENARIO, LIMITS)
    assert "seed" not in server.requests[0]


def test_seeds_are_31_bits_and_the_same_in_every_process() -> None:
    assert seed_from(1, "a") == 1226463029
    assert all(0 <= seed_from(n) < 2**31 for n in range(100))
    assert len({seed_from(n, turn) for n in range(50) for turn in range(20)}) == 1000


async def test_the_replies_of_rollouts_side_by_side_do_not_mix(
    model_on: ModelOn, words: WordEnvironment
) -> None:
    """Every rollout's second turn waits until all have asked for it."""
    everyone, lock, waiting = threading.Event(), threading.Lock(), []

    def gather(request: dict[str, Any]) -> Any:
        with lock:
            waiting.append(request)
            if len(waiting) == 30:
                everyone.set()
        return LOOK_UP(request)

    async def one(model: ChatModel, number: int) -> Rollout:
        return await run_rollout(
            model, words, WordScenario(id=str(number), word=f"word{number}x"), LIMITS
        )

    with ChatServer(by_turn(LOOK_UP, late(gather, everyone), ANSWER)) as server:
        model = model_on(server)
        rollouts = await asyncio.gather(*(one(model, number) for number in range(30)))
    for number, rollout in enumerate(rollouts):
        assert rollout.stop is StopReason.FINISHED
        assert len(rollout.replies) == 3
        for body in rollout.replies:
            assert f"word{number}x".encode() in bytes(body["prompt_token_ids"])
    assert [session.closed for session in words.sessions] == [1] * 30


async def test_an_agent_searches_reads_and_answers_from_real_mails(
    model_on: ModelOn, tmp_path: Path
) -> None:
    from environment.email_search import EmailSearchEnvironment
    from environment.email_search.config import EmailSearchConfig
    from environment.email_search.email_db import EmailDatabase, build_database
    from environment.email_search.models import Email, EmailScenario

    me = "ann@x.com"
    mails = [
        Email("<1>", "2001-05-01 10:00:00", "Pager", "bob@x.com", [me], body="It is 555-1234."),
        Email("<2>", "2001-05-02 10:00:00", "Lunch", "eve@x.com", [me], body="At noon?"),
    ]
    build_database(tmp_path / "mails.db", mails)
    scenario = EmailScenario(
        id="1",
        split="train",
        question="What is Bob's pager number?",
        answer="555-1234",
        message_ids=("<1>",),
        inbox_address=me,
        query_date="2001-06-01",
    )
    environment = EmailSearchEnvironment(
        EmailDatabase(tmp_path / "mails.db"), [scenario], EmailSearchConfig(), max_turns=6
    )
    scripts = [
        calls(("search_inbox_tool", {"keywords": ["pager"]})),
        calls(("read_email_tool", {"message_id": "<1>"})),
        calls(("return_final_answer_tool", {"answer": "555-1234", "source_ids": ["<1>"]})),
    ]
    with ChatServer(*scripts) as server:
        model = model_on(server, tools=environment.tool_schemas)
        rollout = await run_rollout(model, environment, scenario, LIMITS)
    environment.close()
    assert rollout.reward.success
    assert "It is 555-1234." in rollout.messages[5]["content"]
    assert [tool["function"]["name"] for tool in server.requests[0]["tools"]] == [
        "search_inbox_tool",
        "read_email_tool",
        "return_final_answer_tool",
    ]


class QueueingWorld(WordEnvironment):
    """Its tool waits, in a queue of others or for itself."""

    def __init__(self, in_queue: bool) -> None:
        super().__init__()
        self._in_queue = in_queue

    def session(self, scenario: WordScenario) -> Any:
        session = super().session(scenario)
        tool = session.tools[0]
        look_up = tool.func

        async def late(**arguments: Any) -> str:
            with off_the_clock() if self._in_queue else nullcontext():
                await asyncio.sleep(0.5)
            return str(look_up(**arguments))

        tool.coroutine = late
        return session


@pytest.mark.parametrize("in_queue", [True, False])
async def test_the_clock_stands_in_a_queue_and_nowhere_else(
    in_queue: bool, model_on: ModelOn
) -> None:
    rollout = await rollout_of(
        model_on,
        QueueingWorld(in_queue),
        LOOK_UP,
        LOOK_UP,
        ANSWER,
        limits=Limits(max_turns=4, max_tokens=100_000, timeout_s=0.9),
    )
    if in_queue:
        assert (rollout.stop, rollout.outcome.turns) == (StopReason.FINISHED, 3)
        assert rollout.seconds > 2 * 0.5
    else:
        assert (rollout.stop, rollout.failure) == (StopReason.TIMEOUT, "timeout")


def test_outside_a_rollout_there_is_no_clock_to_stop() -> None:
    with off_the_clock():
        pass
