"""An agent at a problem: real rollouts against a scripted model, programs in the real sandbox."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio

from agent.rollout import Limits, Rollout, run_rollout
from environment.base import StopReason
from environment.code import CodeEnvironment, prompts
from environment.code.config import CodeConfig
from environment.code.sandbox.base import Execution, Sandbox, SandboxError
from environment.code.session import EXECUTE, SUBMIT
from tests.chat_model import chat_model_on
from tests.environment.code.conftest import problem
from tests.fakes.chat_server import ChatServer, Script, by_turn, calls, fails, says

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROBLEM = problem(
    "assert f(5) == 6", "assert f(-1) == 0", visible=("assert f(1) == 2",), solution="f = abs"
)
RIGHT = "```python\ndef f(x):\n    return x + 1\n```"
DOUBLE = "```python\ndef f(x):\n    return x * 2\n```"  # passes the visible test
WRONG = "```python\ndef f(x):\n    return x\n```"


class Watched(Sandbox):
    """The real sandbox, with a list of what it was asked."""

    name = "watched"

    def __init__(self, real: Sandbox) -> None:
        self.real = real
        self.runs: list[tuple[str, dict[str, str]]] = []
        self.fail_at = 0

    async def run(self, program: str, tags: Mapping[str, str]) -> Execution:
        self.runs.append((program, dict(tags)))
        if len(self.runs) == self.fail_at:
            raise SandboxError("it is gone")
        return await self.real.run(program, tags)

    async def close(self) -> None: ...


@pytest_asyncio.fixture(loop_scope="module")
async def watched(sandbox: Sandbox) -> AsyncIterator[Watched]:
    yield Watched(sandbox)


async def rollout(sandbox: Sandbox, *scripts: Script, turns: int = 4, **config: Any) -> Rollout:
    environment = CodeEnvironment([PROBLEM], sandbox, CodeConfig(**config))
    with ChatServer(by_turn(*scripts)) as server:
        async with chat_model_on(server, environment.tool_schemas, max_tokens=200) as model:
            episode = await run_rollout(model, environment, PROBLEM, Limits(turns, 10**6, 60))
        episode.messages.append({"requests": server.requests})
    return episode


def said(episode: Rollout) -> list[tuple[str, str]]:
    return [(m["role"], m["content"]) for m in episode.messages[:-1]]


def asked_of_model(episode: Rollout) -> list[dict[str, Any]]:
    return [
        request if "messages" in request else request["body"]
        for request in episode.messages[-1]["requests"]
    ]


async def test_a_program_that_passes_the_visible_tests_is_judged_by_the_hidden_ones(
    watched: Watched,
) -> None:
    episode = await rollout(watched, says(RIGHT))
    assert (episode.stop, episode.reward.value, episode.reward.success) == (
        StopReason.FINISHED,
        1.0,
        True,
    )
    assert episode.reward.reason == "passed"
    assert said(episode) == [
        ("system", prompts.REFINE_SYSTEM),
        ("user", "Write a function f.\nIt must pass:\nassert f(1) == 2"),
        ("assistant", RIGHT),
    ]
    assert len(watched.runs) == 2
    assert all(tags["problem"] == "p/1" and tags["job"] for _, tags in watched.runs)


async def test_passing_the_visible_test_alone_earns_nothing(watched: Watched) -> None:
    episode = await rollout(watched, says(DOUBLE))
    assert (episode.stop, episode.reward.value, episode.reward.reason) == (
        StopReason.FINISHED,
        0.0,
        "wrong_answer",
    )


async def test_an_error_is_fed_back_until_the_program_is_right(watched: Watched) -> None:
    episode = await rollout(watched, says("def f(x) x"), says(WRONG), says(RIGHT))
    feedback = [text for role, text in said(episode)[2:] if role == "user"]
    assert feedback == [
        "Attempt 1 of 3 failed: SyntaxError: expected ':' (line 1)\nWrite the whole program again.",
        "Attempt 2 of 3 failed: f(1) is 1, not 2\nWrite the whole program again.",
    ]
    assert episode.reward.success
    assert episode.reward.metrics["attempts"] == 3
    assert [a.verdict for a in episode.outcome.attempts] == ["syntax", "wrong_answer", "passed"]  # type: ignore[attr-defined]


async def test_the_last_attempt_is_submitted_whatever_it_is(watched: Watched) -> None:
    episode = await rollout(watched, says(WRONG), max_attempts=2)
    assert (episode.stop, episode.outcome.turns, episode.reward.reason) == (
        StopReason.FINISHED,
        2,
        "wrong_answer",
    )


async def test_a_reply_without_a_program_is_an_attempt_too(watched: Watched) -> None:
    episode = await rollout(watched, says("```python\n```"), says(RIGHT))
    assert "failed: there is no program in the reply" in said(episode)[3][1]
    assert episode.reward.success


async def test_nothing_hidden_is_ever_shown(watched: Watched) -> None:
    # Feedback is short, so it is the program that searches; the tests' text is no part of it.
    spy = (
        "import sys\ndef f(x=0):\n    frame, told = sys._getframe(), ''\n    while frame:\n"
        "        told += str(frame.f_locals)\n        frame = frame.f_back\n"
        "    raise ValueError([f'f({n})' in told for n in (1, 5, -1)])\n"
    )
    episode = await rollout(watched, says(f"```python\n{spy}```"))
    feedback = said(episode)[3][1]
    assert "f(1) raised ValueError: [True, False, False]" in feedback
    episode = await rollout(watched, calls((EXECUTE, {"code": spy + "f()"})), style="tools")
    answer = next(m["content"] for m in episode.messages if m.get("role") == "tool")
    assert answer.endswith("ValueError: [False, False, False]\n[exit code 1]")
    assert not episode.reward.success


async def test_shaping_pays_for_a_share_but_never_as_much_as_success(watched: Watched) -> None:
    episode = await rollout(watched, says("def f(x):\n    return 6"), shaping=0.5)
    assert (episode.reward.value, episode.reward.metrics["tests_passed"]) == (0.25, 0.5)


async def test_the_request_has_no_empty_list_of_tools(watched: Watched) -> None:
    episode = await rollout(watched, says(RIGHT))
    assert all("tools" not in request for request in asked_of_model(episode))


async def test_tools_run_code_and_submit(watched: Watched) -> None:
    program = "def f(x):\n    return x + 1\nprint(f(1))"
    episode = await rollout(
        watched,
        calls((EXECUTE, {"code": program})),
        calls((EXECUTE, {"code": "1 / 0"})),
        calls((SUBMIT, {"code": program})),
        style="tools",
    )
    answers = [m["content"] for m in episode.messages[:-1] if m["role"] == "tool"]
    assert answers[0] == "2"
    assert answers[1].endswith("ZeroDivisionError: division by zero\n[exit code 1]")
    assert episode.reward.success
    assert episode.reward.metrics["attempts"] == 1
    assert [t["function"]["name"] for t in asked_of_model(episode)[0]["tools"]] == [EXECUTE, SUBMIT]


@pytest.mark.parametrize(
    ("scripts", "stop", "reason"),
    [
        ([calls((EXECUTE, {"code": "1"}))], StopReason.OUT_OF_TURNS, "out_of_turns"),
        ([says("The answer is 2.")], StopReason.NO_TOOL_CALL, "no_tool_call"),
        ([calls((SUBMIT, '{"code":'))], StopReason.MALFORMED_CALL, "malformed_call"),
    ],
)
async def test_who_submits_nothing_earns_nothing(
    scripts: list[Script], stop: StopReason, reason: str, watched: Watched
) -> None:
    episode = await rollout(watched, *scripts, style="tools")
    assert (episode.stop, episode.reward.value, episode.reward.reason) == (stop, 0.0, reason)


async def test_a_bad_call_is_answered(watched: Watched) -> None:
    episode = await rollout(
        watched, calls((SUBMIT, {"program": "1"})), calls((SUBMIT, {"code": WRONG})), style="tools"
    )
    assert episode.outcome.tool_errors == 1
    assert episode.reward.reason == "syntax"  # a call holds a program, and not a block of text


async def test_long_output_is_cut_in_the_middle(watched: Watched) -> None:
    code = "print('start' + 'x' * 9000)\nraise ValueError('y' * 9000 + 'end')"
    episode = await rollout(watched, calls((EXECUTE, {"code": code})), style="tools", turns=1)
    answer = next(m["content"] for m in episode.messages[:-1] if m["role"] == "tool")
    assert answer.startswith("start")
    assert "end\n[exit code 1]" in answer
    assert len(answer) < 4_000


@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("style", ["refine", "tools"])
async def test_a_sandbox_that_fails_is_nobodys_failure(
    at: int, style: str, watched: Watched
) -> None:
    watched.fail_at = at
    script = says(RIGHT) if style == "refine" else calls((SUBMIT, {"code": RIGHT[10:-4]}))
    episode = await rollout(watched, script, style=style)
    assert (episode.stop, episode.failure) == (StopReason.ERROR, "sandbox")
    assert episode.error == "SandboxError: it is gone"
    assert episode.outcome.failures == 1  # type: ignore[attr-defined]


async def test_a_model_that_fails_leaves_no_program_running(watched: Watched) -> None:
    episode = await rollout(watched, fails(400))
    assert episode.stop is StopReason.ERROR
    assert watched.runs == []
