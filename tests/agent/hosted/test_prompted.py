"""Hosted models as agents: every provider through LiteLLM, one endpoint directly."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import litellm
import pytest

from agent.hosted.connection import KEY, Connection, check_llm
from agent.hosted.ledger import Ledger
from agent.hosted.prompted import PromptedModel
from agent.rollout import Limits, Rollout, run_rollout
from environment.base import StopReason
from environment.language_model import LlmConfig, LlmUnavailable
from tests.agent.words import WordEnvironment, WordScenario
from tests.fakes.anthropic_server import AnthropicServer
from tests.fakes.chat_server import ChatServer, Script, calls, fails, reply, says, sends, silence
from tests.fakes.loopback import Response
from training.evaluation.evaluate import row_of

CLAUDE, MINI = "anthropic/claude-sonnet-4-20250514", "openai/gpt-4.1-mini"
SOLVED = (calls(("look_up", {"word": "tax"})), calls(("answer", {"answer": "yes"})))
Run = Callable[..., Any]


async def play(
    config: LlmConfig,
    ledger: Ledger | None = None,
    word: str = "tax",
    key: str = KEY,
    attempts: int = 7,
    **changes: Any,
) -> Rollout:
    environment = WordEnvironment()
    connection = Connection(config, ledger or Ledger(), key=key, attempts=attempts)
    model = PromptedModel(connection, environment.tool_schemas, **changes)
    try:
        scenario = WordScenario(id="1", word=word)
        return await run_rollout(model, environment, scenario, Limits(4, 10_000, 20), seed=3)
    finally:
        await model.close()


def at(model: str, api_base: str | None = None, **changes: Any) -> LlmConfig:
    return LlmConfig(model=model, api_base=api_base, **{"timeout_s": 20} | changes)


def priced(usd_per_million: float) -> dict[str, float]:
    return {"usd_per_million_in": usd_per_million, "usd_per_million_out": 2 * usd_per_million}


@pytest.fixture
def at_openai(monkeypatch: pytest.MonkeyPatch) -> Callable[[ChatServer], LlmConfig]:
    """The provider OpenAI, as a server on loopback that LiteLLM finds by its name."""

    def at_openai(server: ChatServer) -> LlmConfig:
        monkeypatch.setenv("OPENAI_API_BASE", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "secret")
        return at(MINI)

    return at_openai


@pytest.fixture
def at_anthropic(monkeypatch: pytest.MonkeyPatch) -> Callable[[AnthropicServer], LlmConfig]:
    def at_anthropic(server: AnthropicServer) -> LlmConfig:
        monkeypatch.setenv("ANTHROPIC_API_BASE", server.root_url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "secret")
        return at(CLAUDE)

    return at_anthropic


async def test_another_dialect_plays_the_same_agent(at_anthropic: Run) -> None:
    with AnthropicServer() as server:
        ledger = Ledger()
        played = await play(at_anthropic(server), ledger)
    assert played.stop is StopReason.FINISHED
    assert played.outcome.turns == 2
    assert [m["role"] for m in played.messages] == [
        "system", "user", "assistant", "tool", "assistant", "tool"
    ]  # fmt: skip
    first, second = server.requests
    assert {tool["name"] for tool in first["tools"]} == {"look_up", "answer"}
    assert "tax is a word" in str(second["messages"][-1])
    assert server.headers[0]["x-api-key"] == "secret"
    # 1,000 tokens in and 100 out, twice, at the provider's price.
    price = litellm.model_cost[CLAUDE.removeprefix("anthropic/")]
    cost = 2 * (1000 * price["input_cost_per_token"] + 100 * price["output_cost_per_token"])
    assert ledger.usage.cost_usd == pytest.approx(cost)
    assert (ledger.usage.prompt_tokens, ledger.usage.completion_tokens) == (2000, 200)
    assert (played.prompt_tokens, played.completion_tokens) == (2000, 200)


async def test_a_refusal_is_known_in_every_dialect(at_anthropic: Run) -> None:
    with AnthropicServer() as server:
        played = await play(at_anthropic(server), word="bomb")
    assert row_of("claude", "sampled", played, 1, None).error == "refused"


async def test_a_refusal_of_openais_own_gets_through_litellm(at_openai: Run) -> None:
    refusal = {"role": "assistant", "content": None, "refusal": "I will not."}

    def refuses(request: dict[str, Any]) -> Response:
        return Response(reply(request, refusal, "stop"))

    with ChatServer(refuses) as server:
        for endpoint in (at_openai(server), at("any", server.base_url)):
            played = await play(endpoint)
            assert row_of("m", "sampled", played, 1, None).error == "refused", endpoint


async def test_a_provider_that_is_busy_is_asked_again(at_anthropic: Run) -> None:
    with AnthropicServer((429, "slow down"), (529, "overloaded"), (500, "oops")) as server:
        played = await play(at_anthropic(server))
    assert played.stop is StopReason.FINISHED
    assert len(server.requests) == 5


async def test_the_provider_says_how_long_to_wait(at_openai: Run) -> None:
    limited = fails(429, "rate_limit_exceeded")  # again after a millisecond, it says
    with ChatServer(*[limited] * 4, *SOLVED) as server:
        endpoint = at_openai(server)
        started = time.monotonic()
        played = await play(endpoint)
    assert played.stop is StopReason.FINISHED
    assert time.monotonic() - started < 3  # its own choice would be 7 s and more


@pytest.mark.parametrize(
    ("script", "failure"),
    [
        (fails(401), "key_refused"),
        (fails(403), "key_refused"),
        (fails(404), "no_such_model"),
        (fails(400), "bad_request"),
        (fails(429), "rate_limit"),
        (fails(500), "server_error"),
        (fails(503), "server_error"),
        (fails(400, "content_policy_violation", "invalid_request_error: not that"), "refused"),
    ],
)
async def test_failures_have_the_same_names_through_litellm_and_directly(
    at_openai: Run, script: Script, failure: str
) -> None:
    with ChatServer(script) as server:
        through, directly = at_openai(server), at("any", server.base_url)
        for endpoint in (through, directly):
            played = await play(endpoint, attempts=2)
            assert (played.stop, played.failure) == (StopReason.ERROR, failure), endpoint
            assert played.error


@pytest.mark.parametrize("direct", [True, False])
async def test_a_server_that_is_silent_or_gone_fails_the_rollout(
    at_openai: Run, direct: bool
) -> None:
    with ChatServer(silence) as server:
        endpoint = at("any", server.base_url) if direct else at_openai(server)
        hasty = endpoint.model_copy(update={"timeout_s": 0.3})
        assert (await play(hasty, attempts=1)).failure == "timeout"
    assert (await play(endpoint, attempts=1)).failure in ("connection", "server_error")


async def test_a_conversation_that_is_too_long_is_the_models_own_end(at_openai: Run) -> None:
    long = fails(400, "context_length_exceeded", "This model's maximum context length is 8 tokens.")
    with ChatServer(long) as server:
        through, directly = at_openai(server), at("any", server.base_url)
        for endpoint in (through, directly):
            assert (await play(endpoint)).stop is StopReason.OVER_LENGTH


async def test_what_is_not_set_is_left_to_the_model(at_openai: Run) -> None:
    with ChatServer(says("hello")) as server:
        endpoint = at_openai(server)
        await play(endpoint)
        await play(endpoint, temperature=0.5, max_tokens=77)
    free, bound = server.requests
    assert not {"temperature", "max_tokens", "max_completion_tokens", "seed"} & free.keys()
    assert bound["temperature"] == 0.5
    assert 77 in (bound.get("max_tokens"), bound.get("max_completion_tokens"))


async def test_an_endpoint_of_ones_own_is_asked_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWN_KEY", "mine")
    with ChatServer(*SOLVED) as server:
        ledger = Ledger()
        endpoint = at("openai/Qwen/Qwen3-8B", server.base_url, **priced(1.0))
        played = await play(endpoint, ledger, key="OWN_KEY")
    assert {request["model"] for request in server.requests} == {"Qwen/Qwen3-8B"}
    assert server.headers[0]["authorization"] == "Bearer mine"
    expected = (played.prompt_tokens + 2 * played.completion_tokens) / 1e6
    assert ledger.usage.cost_usd == pytest.approx(expected)


async def test_nothing_is_asked_once_the_budget_is_spent() -> None:
    with ChatServer(*SOLVED) as server:
        played = await play(at("any", server.base_url, **priced(1e6)), Ledger(5.0))
    assert len(server.requests) == 1
    assert (played.stop, played.failure) == (StopReason.ERROR, "budget")


async def test_a_reply_that_is_none_fails_the_rollout() -> None:
    with ChatServer(sends({"odd": 1})) as server:
        assert (await play(at("any", server.base_url))).failure == "no_usable_reply"


@pytest.mark.parametrize(
    ("endpoint", "keys", "fault"),
    [
        (at(MINI), {}, "needs OPENAI_API_KEY in the environment"),
        (at("gemini/gemini-2.5-pro"), {}, "GOOGLE_API_KEY or GEMINI_API_KEY"),
        (at("bedrock/x"), {}, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        (at("o3-of-mine"), {}, "LiteLLM knows no provider"),
        (at("any", "http://127.0.0.1:9/v1"), {}, "the price of any is unknown"),
        (at("openai/none-such"), {"OPENAI_API_KEY": "k"}, "the price of openai/none-such"),
    ],
)
def test_a_model_that_cannot_be_asked_is_told_before_any_work(
    endpoint: LlmConfig, keys: dict[str, str], fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(LlmUnavailable, match=fault):
        check_llm(endpoint.model_copy(update={"max_cost_usd": 1.0}))


@pytest.mark.parametrize(
    "endpoint",
    [
        at(MINI, max_cost_usd=1),
        at("gemini/gemini-2.5-pro", max_cost_usd=1),
        at("any", "http://127.0.0.1:9/v1"),
        at("any", "http://127.0.0.1:9/v1", max_cost_usd=1, **priced(0.0)),
    ],
)
def test_a_model_that_can_be_asked_passes(
    endpoint: LlmConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(name, "k")
    check_llm(endpoint)
