"""The committed pocket policy: what it promises on its card."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from backends.tool_calls import parse_tool_calls
from environment.email_search import SYSTEM_PROMPT
from environment.email_search.sample.corpus import generate
from environment.email_search.sample.names import split_of
from environment.email_search.tools import SEARCH, tool_schemas
from models.pocket.demos import demonstrate, worlds
from models.pocket.lessons import encode

POCKET = Path(__file__).parents[2] / "models" / "pocket"
MIB = 2**20


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(POCKET)


@pytest.fixture(scope="module")
def model() -> Any:
    return AutoModelForCausalLM.from_pretrained(POCKET, dtype=torch.float32).eval()


def test_it_is_small() -> None:
    assert sum(file.stat().st_size for file in POCKET.rglob("*") if file.is_file()) <= 20 * MIB


def test_plain_transformers_generates_a_search_with_it(tokenizer: Any, model: Any) -> None:
    messages = [
        {"role": "system", "content": SYSTEM_PROMPT},
        {
            "role": "user",
            "content": "Inbox: ann@harbor.example\nToday: 2001-12-31\n"
            "What is the budget for Zabrook?",
        },
    ]
    prompt = tokenizer.apply_chat_template(
        messages, tools=tool_schemas(), add_generation_prompt=True, return_tensors="pt"
    )["input_ids"]
    reply = model.generate(prompt, max_new_tokens=40, do_sample=False)[0, prompt.shape[1] :]
    _, calls = parse_tool_calls(tokenizer.decode(reply, skip_special_tokens=True))
    assert [call["function"]["name"] for call in calls] == [SEARCH]
    assert json.loads(calls[0]["function"]["arguments"])["keywords"]


def test_system_prompt_and_tools_cost_one_token(tokenizer: Any) -> None:
    ids = tokenizer.apply_chat_template(
        [{"role": "system", "content": SYSTEM_PROMPT}, {"role": "user", "content": "Inbox: x"}],
        tools=tool_schemas(),
        return_dict=False,
    )
    assert SYSTEM_PROMPT in tokenizer.decode(ids[:1])


def test_it_was_taught_in_the_form_that_the_chat_template_gives(tokenizer: Any) -> None:
    environment, inboxes = next(iter(worlds(7_000_000, 1)))
    rng = random.Random(0)
    pairs = list(zip(inboxes[0].scenarios, inboxes[0].facts, strict=True))
    for scenario, fact in rng.sample(pairs, 10):
        demo = demonstrate(environment, scenario, fact, rng, good=1.0)
        messages: list[dict[str, Any]] = [
            {"role": "system", "content": SYSTEM_PROMPT},
            {"role": "user", "content": demo.user_prompt},
        ]
        for index, turn in enumerate(demo.turns):
            if index % 2:
                messages.append({"role": "tool", "content": turn.text})
                continue
            content, calls = parse_tool_calls(turn.text)
            for call in calls:
                call["function"]["arguments"] = json.loads(call["function"]["arguments"])
            messages.append({"role": "assistant", "content": content or "", "tool_calls": calls})
        rendered = tokenizer.apply_chat_template(messages, tools=tool_schemas(), return_dict=False)
        taught, _ = encode(tokenizer, demo, context_weight=0.0)
        assert tokenizer.decode(rendered).strip() == tokenizer.decode(taught).strip()
        assert rendered[: len(taught)] == taught


def test_its_lessons_and_the_held_out_inboxes_share_no_name() -> None:
    held_out = [box for box in generate(0) if box.scenarios[0].split == "test"]
    people = {fact.entity for box in held_out for fact in box.facts}
    assert {split_of(name) for name in people} == {"test"}
    _, lessons = next(iter(worlds(7_000_000, 1)))
    assert {split_of(fact.entity) for box in lessons for fact in box.facts} == {"train"}


def test_its_card_says_how_it_was_built() -> None:
    card = (POCKET / "README.md").read_text()
    record = json.loads((POCKET / "build.json").read_text())
    assert f"{record['minutes']:.0f} minutes" in card
