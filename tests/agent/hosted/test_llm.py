from __future__ import annotations

import asyncio
import json
import threading
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any

import litellm
import pytest
from pydantic import BaseModel

from agent.hosted.connection import check_llm
from agent.hosted.llm import LanguageModel
from environment.language_model import LlmBudgetSpent, LlmConfig, LlmFailed, LlmUnavailable, as_data
from tests.fakes.completions import CompletionsServer, completion, http_error
from tests.fakes.loopback import Response

ASKED = [{"role": "user", "content": "How many?"}]
PRICE = {"usd_per_million_in": 1.0, "usd_per_million_out": 10.0}


class Number(BaseModel):
    value: int


def number(value: int, tokens: tuple[int, int] = (1, 1)) -> Response:
    return completion(json.dumps({"value": value}), tokens=tokens)


def at_most_nine(answer: Number) -> None:
    if answer.value > 9:
        raise ValueError(f"{answer.value} is more than 9.")


def model_on(server: CompletionsServer, cache: Path | None = None, **changes: Any) -> LanguageModel:
    settings: dict[str, Any] = {"model": "openai/m", "api_base": server.base_url, "timeout_s": 20}
    return LanguageModel(LlmConfig(**settings | changes), cache)


async def ask(model: LanguageModel, text: str = "How many?") -> int:
    return (await model.ask([{"role": "user", "content": text}], Number, at_most_nine)).value


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits hardly at all where the server does not say how long."""
    monkeypatch.setattr("agent.hosted.retries.FIRST_WAIT_S", 0.001)


async def test_an_answer_comes_in_the_form_asked_for() -> None:
    with CompletionsServer(number(7)) as server:
        model = model_on(server)
        assert await model.ask(ASKED, Number) == Number(value=7)
    (request,) = server.requests
    assert (request["model"], request["messages"]) == ("m", ASKED)
    assert request["response_format"]["type"] == "json_schema"


BAD = {
    "no JSON": (completion("seven"), "not JSON of the form", "'seven'"),
    "another form": (completion('{"size": 7}'), "not JSON of the form", "size"),
    "a refusal": (completion(None, refusal="I will not."), "not JSON of the form", "I will not."),
    "nothing": (completion(None), "not JSON of the form", "(nothing)"),
    "what the check refuses": (number(12), "12 is more than 9.", '{"value": 12}'),
}


@pytest.mark.parametrize("case", BAD)
async def test_a_bad_answer_is_shown_its_fault_once(case: str) -> None:
    bad, fault, said = BAD[case]
    with CompletionsServer(bad, number(7)) as server:
        assert await ask(model_on(server)) == 7
    first, second = (request["messages"] for request in server.requests)
    assert second[:1] == first
    assert [message["role"] for message in second[1:]] == ["assistant", "user"]
    assert said.strip("'") in second[1]["content"]
    assert fault in second[2]["content"]


@pytest.mark.parametrize("case", BAD)
async def test_a_second_bad_answer_is_a_failure_that_says_what_was_said(case: str) -> None:
    bad, fault, said = BAD[case]
    with CompletionsServer(bad) as server, pytest.raises(LlmFailed) as failed:
        await ask(model_on(server))
    assert len(server.requests) == 2
    assert fault in str(failed.value)
    assert said in str(failed.value)


@pytest.mark.usefixtures("hasty")
async def test_a_rate_limit_is_waited_for_as_long_as_the_server_says() -> None:
    with CompletionsServer(http_error(429, Retry_After="0.4"), number(7)) as server:
        started = time.monotonic()
        assert await ask(model_on(server)) == 7
        assert 0.4 <= time.monotonic() - started < 5
    assert len(server.requests) == 2


@pytest.mark.usefixtures("hasty")
async def test_a_date_to_wait_for_is_understood_too() -> None:
    soon = formatdate(time.time() + 2, usegmt=True)
    with CompletionsServer(http_error(503, Retry_After=soon), number(7)) as server:
        started = time.monotonic()
        assert await ask(model_on(server)) == 7
        assert time.monotonic() - started > 0.5


async def test_a_wait_without_end_is_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.hosted.retries.LONGEST_WAIT_S", 0.01)
    with CompletionsServer(http_error(429, Retry_After="86400"), number(7)) as server:
        assert await ask(model_on(server)) == 7


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("header", ["", "soon", "-3", "1.2.3"])
async def test_a_wait_that_cannot_be_read_is_as_good_as_none(header: str) -> None:
    with CompletionsServer(http_error(500, Retry_After=header), number(7)) as server:
        assert await ask(model_on(server)) == 7


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_what_may_pass_is_tried_four_times(status: int) -> None:
    with CompletionsServer(http_error(status)) as server, pytest.raises(LlmFailed, match="not now"):
        await ask(model_on(server))
    assert len(server.requests) == 4


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_what_cannot_pass_is_not_tried_again(status: int) -> None:
    with CompletionsServer(http_error(status)) as server, pytest.raises(LlmFailed, match="not now"):
        await ask(model_on(server))
    assert len(server.requests) == 1


@pytest.mark.usefixtures("hasty")
async def test_a_server_that_hangs_is_given_up_on() -> None:
    with CompletionsServer(Response("", hangs=True)) as server:
        started = time.monotonic()
        with pytest.raises(LlmFailed, match="openai/m"):
            await ask(model_on(server, timeout_s=0.2))
        assert time.monotonic() - started < 5
        assert len(server.requests) == 4


@pytest.mark.usefixtures("hasty")
async def test_a_server_that_never_stops_sending_is_given_up_on() -> None:
    """A timeout between two bytes would not end it."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
        for _ in range(200):
            writer.write(b" ")
            await asyncio.sleep(0.05)
        writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    config = LlmConfig(model="openai/m", api_base=f"http://127.0.0.1:{port}/v1", timeout_s=0.3)
    with pytest.raises(LlmFailed, match=r"no answer within 0\.3 s"):
        await ask(LanguageModel(config))
    server.close()


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    "response",
    [
        Response("<html>maintenance</html>", content_type="text/html"),
        Response(number(7).body | {"choices": []}),  # type: ignore[operator]
        Response("{"),
    ],
    ids=["a web page", "no choices", "broken JSON"],
)
async def test_a_server_that_speaks_no_openai_is_a_failure(response: Response) -> None:
    with CompletionsServer(response) as server, pytest.raises(LlmFailed, match="openai/m"):
        await ask(model_on(server))


@pytest.mark.usefixtures("hasty")
async def test_a_server_that_is_not_there_is_a_failure() -> None:
    with CompletionsServer(number(7)) as server:
        model = model_on(server)
    with pytest.raises(LlmFailed, match="openai/m"):
        await ask(model)


async def test_no_more_requests_run_at_once_than_allowed() -> None:
    answer = number(7)
    with CompletionsServer(answer) as server:
        answer.gate = gate = threading.Event()
        model = model_on(server, concurrency=2)
        tasks = [asyncio.create_task(ask(model, str(n))) for n in range(5)]
        await asyncio.sleep(0.5)
        assert len(server.requests) == 2
        gate.set()
        assert await asyncio.gather(*tasks) == [7] * 5
    assert len(server.requests) == 5


async def test_a_question_is_paid_for_once(tmp_path: Path) -> None:
    with CompletionsServer(number(7, tokens=(1000, 100))) as server:
        first = model_on(server, tmp_path, **PRICE)
        assert [await ask(first), await ask(first)] == [7, 7]
        again = model_on(server, tmp_path, **PRICE)
        assert await ask(again) == 7
        assert len(server.requests) == 1
        assert (first.usage.requests, first.usage.cached) == (1, 1)
        assert (again.usage.requests, again.usage.cached, again.usage.cost_usd) == (0, 1, 0)
        await ask(again, "How many more?")
        await ask(model_on(server, tmp_path, model="openai/other"))
    assert len(server.requests) == 3


async def test_a_bad_answer_is_not_kept(tmp_path: Path) -> None:
    with CompletionsServer(number(12), number(12), number(7)) as server:
        model = model_on(server, tmp_path)
        with pytest.raises(LlmFailed):
            await ask(model)
        assert await ask(model) == 7


@pytest.mark.parametrize("kept", ["", '{"value": ', '{"value": 12}', "\x00"])
async def test_a_kept_answer_that_is_no_good_is_asked_for_again(kept: str, tmp_path: Path) -> None:
    with CompletionsServer(number(7)) as server:
        await ask(model_on(server, tmp_path))
        (file,) = tmp_path.iterdir()
        file.write_text(kept)
        model = model_on(server, tmp_path)
        assert [await ask(model), await ask(model)] == [7, 7]
    assert len(server.requests) == 2


async def test_a_provider_is_reached_through_litellm(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the form, its errors, its waits and its price."""
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    limited = http_error(429, Retry_After="0.4")
    with CompletionsServer(limited, number(7, tokens=(1_000_000, 0))) as server:
        monkeypatch.setenv("OPENAI_API_BASE", server.base_url)
        model = LanguageModel(LlmConfig(model="openai/gpt-4.1-mini", timeout_s=20))
        started = time.monotonic()
        assert await ask(model) == 7
        assert 0.4 <= time.monotonic() - started < 5
    assert {request["model"] for request in server.requests} == {"gpt-4.1-mini"}
    assert server.requests[-1]["response_format"]["json_schema"]["strict"]
    assert server.headers[-1]["authorization"] == "Bearer secret"
    assert model.usage.cost_usd == pytest.approx(
        1e6 * litellm.model_cost["gpt-4.1-mini"]["input_cost_per_token"]
    )


@pytest.mark.parametrize("cost", ["much", None, [1]])
async def test_a_cost_that_is_no_number_is_unknown(cost: object) -> None:
    body: Any = number(7).body
    priced = body | {"usage": body["usage"] | {"cost": cost}}
    with CompletionsServer(Response(priced)) as server:
        model = model_on(server)
        assert await ask(model) == 7
    assert model.usage.cost_usd == 0


async def test_totals_survive_a_restart(tmp_path: Path) -> None:
    with CompletionsServer(number(7, tokens=(1_000_000, 0))) as server:
        for _ in range(2):
            model = model_on(server, **PRICE, max_cost_usd=2)
            model.ledger.keep(tmp_path / "spent.json")
            assert await ask(model) == 7
        assert model.usage.requests == 2
        with pytest.raises(LlmBudgetSpent):
            await ask(model)


async def test_half_a_surrogate_pair_in_a_bad_answer_can_be_shown_again() -> None:
    with CompletionsServer(completion("seven \ud83d"), number(7)) as server:
        assert await ask(model_on(server)) == 7
    assert server.requests[1]["messages"][1]["content"].startswith("seven ")


async def test_what_it_costs_is_counted_bad_answers_too() -> None:
    with CompletionsServer(number(12, tokens=(500, 50)), number(7, tokens=(1000, 100))) as server:
        model = model_on(server, **PRICE)
        await ask(model)
    assert (model.usage.prompt_tokens, model.usage.completion_tokens) == (1500, 150)
    assert model.usage.cost_usd == pytest.approx(1500e-6 + 10 * 150e-6)
    assert model.priced


async def test_nothing_is_asked_once_the_cost_is_reached() -> None:
    """Nor by those that were waiting for their turn when it was."""
    with CompletionsServer(number(7, tokens=(1_000_000, 0))) as server:
        model = model_on(server, **PRICE, max_cost_usd=2, concurrency=1)
        requests = [ask(model, str(n)) for n in range(5)]
        answers = await asyncio.gather(*requests, return_exceptions=True)
        assert answers[:2] == [7, 7]
        assert all(isinstance(answer, LlmBudgetSpent) for answer in answers[2:])
        assert "2.0000 USD; max_cost_usd is 2" in str(answers[-1])
    assert len(server.requests) == 2


async def test_a_kept_answer_costs_nothing_of_a_spent_budget(tmp_path: Path) -> None:
    with CompletionsServer(number(7, tokens=(1_000_000, 0))) as server:
        model = model_on(server, tmp_path, **PRICE, max_cost_usd=1)
        assert await ask(model) == 7
        assert await ask(model) == 7
        with pytest.raises(LlmBudgetSpent):
            await ask(model, "another")


async def test_a_reply_without_usage_counts_as_a_request() -> None:
    body = {key: value for key, value in number(7).body.items() if key != "usage"}  # type: ignore[attr-defined]
    with CompletionsServer(Response(body)) as server:
        model = model_on(server, **PRICE)
        assert await ask(model) == 7
    assert model.usage.requests == 1


def test_a_model_without_a_key_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(LlmUnavailable, match="openai/o4-mini needs OPENAI_API_KEY") as raised:
        check_llm(LlmConfig())
    assert "api_base" in str(raised.value)
    check_llm(LlmConfig(api_base="http://127.0.0.1:1/v1"))
    monkeypatch.setenv("OPENAI_API_KEY", "set")
    check_llm(LlmConfig())


@pytest.mark.parametrize("model", ["opnai/o3", "o99", "??"])
def test_a_model_of_no_known_provider_is_refused(model: str) -> None:
    assert not LanguageModel(LlmConfig(model=model)).priced
    with pytest.raises(LlmUnavailable, match=r"knows no provider .*: write it as provider/name"):
        check_llm(LlmConfig(model=model))
    check_llm(LlmConfig(model=model, api_base="http://127.0.0.1:1/v1"))


@pytest.mark.parametrize(
    "changes",
    [{"model": "openai/nobody-knows"}, {"api_base": "http://127.0.0.1:1/v1"}],
    ids=["unknown to LiteLLM", "a server of one's own"],
)
def test_a_bound_on_an_unknown_cost_is_refused(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "set")
    assert not LanguageModel(LlmConfig(**changes)).priced
    with pytest.raises(LlmUnavailable, match="usd_per_million_in"):
        check_llm(LlmConfig(**changes, max_cost_usd=1))
    check_llm(LlmConfig(**changes, **PRICE, max_cost_usd=1))


def test_a_bound_on_a_cost_that_litellm_knows_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "set")
    check_llm(LlmConfig(max_cost_usd=1))
    assert LanguageModel(LlmConfig()).priced


@pytest.mark.parametrize(("key", "sent"), [(None, "none"), ("", "none"), ("secret", "secret")])
async def test_a_server_of_ones_own_gets_the_key_of_the_environment(
    key: str | None, sent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    if key is not None:
        monkeypatch.setenv("OPENAI_API_KEY", key)
    with CompletionsServer(number(7)) as server:
        await ask(model_on(server))
    assert server.headers[0]["authorization"] == f"Bearer {sent}"


def test_data_in_a_prompt_is_json_that_any_server_takes() -> None:
    assert json.loads(as_data({"a": "é ☃ \U0001f600"})) == {"a": "é ☃ \U0001f600"}
    assert json.loads(as_data(["half \ud83d"])) == ["half ?"]
    assert "é" in as_data("é")


async def test_a_fault_of_form_tells_the_form() -> None:
    with CompletionsServer(completion("seven"), number(7)) as server:
        await ask(model_on(server))
    assert json.dumps(Number.model_json_schema()) in server.requests[1]["messages"][-1]["content"]


async def test_a_temperature_is_sent_and_asks_anew(tmp_path: Path) -> None:
    with CompletionsServer(number(1), number(2), number(3)) as server:
        model = model_on(server, tmp_path)
        answers = [
            (await model.ask(ASKED, Number, temperature=temperature)).value
            for temperature in (None, 0.8, 0.2, 0.8, None)
        ]
    assert answers == [1, 2, 3, 2, 1]
    assert [request.get("temperature") for request in server.requests] == [None, 0.8, 0.2]


@pytest.mark.parametrize("status", [401, 200])
async def test_a_key_that_a_server_repeats_is_not_told(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "hidden-value-123")
    reply = completion("hidden-value-123 " * 9)
    if status == 401:
        reply = http_error(status)
        reply.body["error"]["message"] = "no such key: hidden-value-123"
    with CompletionsServer(reply) as server, pytest.raises(LlmFailed, match="secret") as failed:
        await ask(model_on(server))
    assert server.requests
    assert "hidden-value" not in str(failed.value)
