"""A conversation with tools on a server that speaks vLLM's dialect, through the agent's rollout and
the training's trajectories to the tensors of ART's LocalBackend: the tokens are the sampled ones."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path
from typing import Any

import art
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.rollout import Limits, Rollout, run_rollout
from backends.loading import load_tokenizer
from backends.local import ExactLocalBackend
from environment.base import StopReason
from tests.agent.words import WordEnvironment, WordScenario
from tests.backends.pocket import POCKET
from tests.chat_model import chat_model_on
from tests.fakes.vllm_server import VllmServer, Write, writes
from training.loop.accounting import account

LIMITS = Limits(max_turns=6, max_tokens=100_000, timeout_s=60)
WORDS = ("tax", "Quasar 17", 'say "no"', "naïve", "a\nb")


def call(name: str, **arguments: str) -> str:
    body = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return f"<tool_call>\n{body}\n</tool_call>"


def looks_up(word: str, *cuts: int) -> Write:
    return writes(call("look_up", word=word), cuts)


def answers(text: str, *cuts: int) -> Write:
    return writes(call("answer", answer=text), cuts)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer(POCKET)


def rollout_on(tokenizer: Any, *scripts: Write) -> tuple[Rollout, list[tuple[list[int], Any]]]:
    environment = WordEnvironment()

    async def roll_out(server: VllmServer) -> Rollout:
        named = {"name": "agent@0", "max_tokens": 512}
        async with chat_model_on(server, environment.tool_schemas, **named) as model:
            return await run_rollout(model, environment, WordScenario(id="1"), LIMITS)

    with VllmServer(tokenizer, *scripts) as server:
        return asyncio.run(roll_out(server)), server.sampled


def packed_by_local(folder: Path, rollouts: list[Rollout]) -> Any:
    """The tensors that ART's trainer would get, after the training loop's own account."""
    accounted = account([rollouts], WordEnvironment(), max_tokens=100_000)
    assert accounted.dropped == {}
    model: Any = art.TrainableModel(name="agent", project="p", base_model=POCKET)
    return ExactLocalBackend(path=str(folder))._get_packed_tensors(
        model,
        accounted.groups,
        advantage_balance=0.0,
        allow_training_without_logprobs=False,
        scale_rewards=True,
        plot_tensors=False,
        packed_sequence_length=None,
        logprob_calculation_chunk_size=1024,
    )


def trained_tokens(packed: Any, sign: int) -> list[tuple[int, float]]:
    """The tokens with a loss and their log-probabilities, of the rows whose advantage has this
    sign; ART shuffles whole rows."""
    pairs = []
    for row in range(len(packed["tokens"])):
        mask = packed["assistant_mask"][row].bool()
        if math.copysign(1, packed["advantages"][row][mask][0]) == sign:
            ids, logprobs = packed["tokens"][row][mask], packed["logprobs"][row][mask]
            pairs += list(zip(ids.tolist(), logprobs.tolist(), strict=True))
    return pairs


def expected(sampled: list[tuple[list[int], Any]]) -> list[tuple[int, Any]]:
    return [
        (i, pytest.approx(logprob, abs=1e-6))
        for ids, logprobs in sampled
        for i, logprob in zip(ids, logprobs, strict=True)
    ]


def sorted_ids(tokens: list[tuple[int, Any]]) -> list[int]:
    return sorted(i for i, _ in tokens)


def test_a_conversation_with_tools_is_packed_token_by_token(tokenizer: Any, tmp_path: Path) -> None:
    good, sampled = rollout_on(tokenizer, looks_up("tax"), looks_up("Quasar 17"), answers("a word"))
    bad, other = rollout_on(tokenizer, looks_up("tax"), writes("I give up."))
    assert (good.stop, bad.stop) == (StopReason.FINISHED, StopReason.NO_TOOL_CALL)
    assert [len(sampled), len(other)] == [3, 2]
    packed = packed_by_local(tmp_path, [good, bad])
    assert len(packed["tokens"]) == 2, "turns that continue each other are one row"
    assert trained_tokens(packed, 1) == expected(sampled)
    assert trained_tokens(packed, -1) == expected(other)


def test_what_lies_between_two_replies_is_there_but_not_trained_on(
    tokenizer: Any, tmp_path: Path
) -> None:
    good, _ = rollout_on(tokenizer, looks_up("tax"), answers("a word"))
    bad, _ = rollout_on(tokenizer, writes("I give up."))
    packed = packed_by_local(tmp_path, [good, bad])
    (row,) = [
        ids.tolist()
        for ids, mask in zip(packed["tokens"], packed["assistant_mask"], strict=True)
        if int(mask.sum()) > 12 and "tax is a word" in tokenizer.decode(ids)
    ]
    last = good.replies[-1]
    whole = last["prompt_token_ids"] + last["choices"][0]["token_ids"]
    assert row[: len(whole)] == whole


def test_tokens_that_no_tokeniser_would_choose_stay_as_they_were_sampled(
    tokenizer: Any, tmp_path: Path
) -> None:
    """The next prompt spells the conversation anew, so it does not continue what was sampled."""
    odd = looks_up("Quasar 17", *range(200))
    assert odd(tokenizer) != looks_up("Quasar 17")(tokenizer)
    good, sampled = rollout_on(tokenizer, odd, answers("a word"))
    bad, _ = rollout_on(tokenizer, writes("I give up."))
    packed = packed_by_local(tmp_path, [good, bad])
    assert len(packed["tokens"]) == 3
    assert sorted_ids(trained_tokens(packed, 1)) == sorted_ids(expected(sampled))


@settings(max_examples=15, deadline=None)
@given(
    turns=st.lists(
        st.tuples(st.sampled_from(WORDS), st.lists(st.integers(0, 80), max_size=6)), max_size=3
    ),
    last=st.lists(st.integers(0, 80), max_size=6),
)
def test_whatever_was_sampled_is_what_is_trained_on(
    turns: list[tuple[str, list[int]]], last: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    tokenizer = load_tokenizer(POCKET)
    scripts = [looks_up(word, *cuts) for word, cuts in turns]
    good, sampled = rollout_on(tokenizer, *scripts, answers("so it is", *last))
    bad, other = rollout_on(tokenizer, *scripts, writes("No.", last))
    packed = packed_by_local(tmp_path_factory.mktemp("art"), [good, bad])
    for sign, sampled_turns in ((1, sampled), (-1, other)):
        assert sorted_ids(trained_tokens(packed, sign)) == sorted_ids(expected(sampled_turns))
