"""Base models of other families are sampled as they are trained, and see their tools."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import art
import pytest
from art.types import TrainConfig

from backends.chat_format import ChatFormat
from backends.embedded.engine import Engine
from backends.embedded.policy import Policy
from backends.embedded.sampler import Sampler
from backends.embedded.self_check import check_sampler
from backends.embedded.trainer import Trainer
from backends.errors import BackendError
from backends.packing import pack_groups
from backends.sampling import SampleRequest
from tests.backends.families import FAMILIES, make_family, without_end_token
from tests.backends.pocket import choice, config, sample, shake, trajectory

NewFamily = Callable[..., Policy]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"What {name} does.",
            "parameters": {"type": "object", "properties": {"keywords": {"type": "array"}}},
        },
    }
    for name in ("search_inbox_tool", "read_email_tool")
]
START = [
    {"role": "system", "content": "You answer questions about mails. " * 12},
    {"role": "user", "content": "Which hotel does Ann Lee stay at? " * 8},
]


@pytest.fixture
def new_family(tmp_path: Path) -> NewFamily:
    def new_family(name: str, **changes: Any) -> Policy:
        folder = make_family(name, tmp_path / name, **changes)
        return Policy(config(base_model=str(folder)), tmp_path / "model")

    return new_family


def calls_of(*texts: str) -> list[dict[str, Any]]:
    return [
        {
            "id": f"call{n}with_any_id",
            "type": "function",
            "function": {
                "name": "search_inbox_tool",
                "arguments": json.dumps({"keywords": [text, "Müller </tool_call>"]}),
            },
        }
        for n, text in enumerate(texts)
    ]


def turn(*texts: str) -> list[dict[str, Any]]:
    calls = calls_of(*texts)
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": f"Result for {text}."}
        for call, text in zip(calls, texts, strict=True)
    ]
    return [{"role": "assistant", "content": None, "tool_calls": calls}, *results]


def text_of(chat: ChatFormat, messages: Sequence[Any]) -> str:
    return str(chat.tokenizer.decode(chat.prompt_ids(messages, TOOLS)))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_sees_its_tools_and_writes_calls_that_are_read(
    name: str, new_family: NewFamily
) -> None:
    family, policy = FAMILIES[name], new_family(name)
    chat = policy.chat
    assert (chat.dialect, chat.shows_tools, chat.takes_system) == (
        family.dialect,
        family.shows_tools,
        family.takes_system,
    )
    assert (chat.several_calls, chat.continues) == (family.several_calls, family.continues)
    assert family.end in [policy.tokenizer.decode([i]) for i in chat.end_ids]

    first = text_of(chat, START)
    assert START[0]["content"].strip() in first
    for tool in TOOLS:
        assert str(tool["function"]["name"]) in first  # type: ignore[index]
    second = text_of(chat, [*START, *turn("Denver")])
    assert second.startswith(first)
    shown = [second.find(text) for text in ("Ann Lee", "Denver", "Result for Denver.")]
    assert -1 not in shown
    assert shown == sorted(shown)

    completion = second[len(first) :].partition(family.end)[0]
    content, [call] = chat.parse(completion)
    assert content is None
    assert call["function"] == calls_of("Denver")[0]["function"] | {
        "arguments": json.dumps({"keywords": ["Denver", "Müller </tool_call>"]}, ensure_ascii=False)
    }


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_sampled_as_it_is_trained(name: str, new_family: NewFamily) -> None:
    policy = new_family(name)
    shake(policy)
    check_sampler(policy)
    prompt = policy.chat.prompt_ids(START, TOOLS)
    assert len(prompt) > 200
    sampler = Sampler(policy.sampling_model(0), policy.end_ids, vocabulary=policy.vocabulary)
    requests = [SampleRequest(prompt, 24, 1.0, seed) for seed in range(4)]
    first = list(zip(requests, sample(sampler, requests), strict=True))
    requests = [
        SampleRequest(r.prompt_ids + s.token_ids + prompt[-90:], 24, 1.0, r.seed + 9)
        for r, s in first
    ]
    second = list(zip(requests, sample(sampler, requests), strict=True))
    group = art.TrajectoryGroup(
        [
            trajectory(
                float(n % 2),
                *(choice(r.prompt_ids, s.token_ids, s.logprobs) for r, s in (first[n], second[n])),
            )
            for n in range(4)
        ]
    )
    packed = pack_groups([group], policy.tokenizer)
    assert packed is not None
    metrics = Trainer(policy).train(packed, TrainConfig(learning_rate=1e-4), {})
    assert metrics["loss/probs_corr"] >= 0.999999
    assert metrics["loss/logprob_diff"] < 1e-4
    sampled = [i for _, s in (*first, *second) for i in s.token_ids]
    assert max(sampled) < policy.vocabulary


def test_ids_without_text_are_never_sampled(new_family: NewFamily) -> None:
    """Even where the model prefers them."""
    policy = new_family("qwen2", tie_word_embeddings=False)
    head = policy.sampling_model(0).get_output_embeddings()
    head.weight.data[policy.vocabulary :] = (
        50 * head.weight.data[: len(head.weight) - policy.vocabulary]
    )
    for temperature in (0.0, 1.0):
        sampler = Sampler(policy.sampling_model(0), [], vocabulary=policy.vocabulary)
        requests = [SampleRequest([5, 6, 7], 64, temperature, seed) for seed in range(8)]
        for drawn in sample(sampler, requests):
            assert max(drawn.token_ids) < policy.vocabulary


def test_several_calls_where_the_template_takes_one_are_no_calls(new_family: NewFamily) -> None:
    chat = new_family("llama3").chat
    one = '{"name": "search_inbox_tool", "parameters": {"keywords": ["a"]}}'
    assert len(chat.parse(one)[1]) == 1
    assert chat.parse(f"{one}; {one}") == (f"{one}; {one}", [])
    assert "one tool call a turn" in chat.describe()


def test_results_of_several_calls_come_in_one_message(new_family: NewFamily) -> None:
    chat = new_family("gemma2").chat
    text = text_of(chat, [*START, *turn("Denver", "Boston")])
    assert text.count("<start_of_turn>user") == 2
    assert text.index("Result for Denver.") < text.index("Result for Boston.")
    assert text.endswith("<start_of_turn>model\n")


def test_a_turn_ends_where_the_template_ends_it(tmp_path: Path) -> None:
    """Neither the generation config nor the tokenizer name the token that ends a turn."""
    folder = make_family("gemma3", tmp_path / "gemma3")
    without_end_token(folder)
    policy = Policy(config(base_model=str(folder)), tmp_path / "model")
    assert policy.tokenizer.convert_tokens_to_ids("<end_of_turn>") in policy.end_ids


TEMPLATES = {
    "no turns": ("Hello.", "does not show"),
    "no generation prompt": (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}",
        "does not begin the model's turn",
    ),
    "users only": ("{% for m in messages %}{{ raise_exception('no') }}{% endfor %}", "fails: no"),
    "a broken one": ("{% for %}", "fails"),
}


@pytest.mark.parametrize(("template", "why"), TEMPLATES.values(), ids=TEMPLATES)
def test_a_template_that_cannot_work_is_refused(template: str, why: str, tmp_path: Path) -> None:
    folder = make_family("qwen2", tmp_path / "qwen2")
    (folder / "chat_template.jinja").write_text(template)
    with pytest.raises(BackendError, match=why) as refused:
        Policy(config(base_model=str(folder)), tmp_path / "model")
    assert str(folder) in str(refused.value)
    assert "use another instruct model" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_parser_that_does_not_read_the_templates_calls_is_refused(tmp_path: Path) -> None:
    folder = make_family("llama3", tmp_path / "llama3")
    with pytest.raises(
        BackendError, match=r'"parameters".*tool_parser: hermes does not read; set it to auto'
    ):
        Policy(config(base_model=str(folder), tool_parser="hermes"), tmp_path / "model")


def test_layers_that_the_sampler_cannot_compute_are_refused(new_family: NewFamily) -> None:
    policy = new_family("qwen2", layer_types=["full_attention"] * 3 + ["chunked_attention"])
    with pytest.raises(BackendError, match="layers of type chunked_attention; use another"):
        Engine(policy)


def test_attention_that_the_sampler_does_not_know_is_refused(new_family: NewFamily) -> None:
    """Here the sinks of gpt-oss."""
    policy = new_family("gpt_oss")
    with pytest.raises(BackendError, match="its attention takes s_aux"):
        Engine(policy)


def test_a_sampler_that_computes_something_else_is_noticed(
    new_family: NewFamily, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example one that ignores the sliding window."""
    from backends.embedded.cache import RaggedCache

    attend = RaggedCache.attend
    monkeypatch.setattr(RaggedCache, "attend", lambda *a: attend(*a[:5]))
    for name in ("mistral", "gemma2"):
        with pytest.raises(BackendError, match="differ from transformers' by"):
            Engine(new_family(name))
