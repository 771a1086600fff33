"""The committed arithmetic policy: what it promises on its card."""

from __future__ import annotations

import json
import random
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from environment.prompt_task.verifiers import numeric
from models.pocket_math.build import PHASES, build_tokenizer
from models.pocket_math.demos import answer, reply, wrong_values
from models.pocket_math.examples import sums
from models.pocket_math.lessons import encode, messages
from models.pocket_math.sums import Sum, draw_sum, question

POCKET_MATH = Path(__file__).parents[2] / "models" / "pocket_math"
TASK = "You are a helpful assistant that solves problems step by step."
MIB = 2**20


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(POCKET_MATH)


@pytest.fixture(scope="module")
def model() -> Any:
    return AutoModelForCausalLM.from_pretrained(POCKET_MATH, dtype=torch.float32).eval()


def replies(tokenizer: Any, model: Any, prompt: str, count: int, system: str = TASK) -> list[str]:
    """Sampled answers to a prompt."""
    chat = [{"role": "system", "content": system}, {"role": "user", "content": prompt}]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt")
    start = ids["input_ids"]
    torch.manual_seed(0)
    generated = model.generate(start, max_new_tokens=32, do_sample=True, num_return_sequences=count)
    return [str(t) for t in tokenizer.batch_decode(generated[:, start.shape[1] :], True)]


def test_it_is_small() -> None:
    assert sum(f.stat().st_size for f in POCKET_MATH.rglob("*") if f.is_file()) <= 3 * MIB


def test_it_is_a_plain_model_of_its_library(model: Any, tokenizer: Any) -> None:
    assert model.config.model_type == "qwen2"
    assert sum(p.numel() for p in model.parameters()) <= 1_000_000
    assert len(tokenizer) == model.config.vocab_size


def test_it_often_solves_sums_it_was_never_taught_and_more_often_does_not(
    tokenizer: Any, model: Any
) -> None:
    shares = []
    for example in sums(40, seed=1):
        assert example.answer is not None
        said = replies(tokenizer, model, example.prompt, 10)
        shares.append(sum(numeric(text, example.answer) for text in said) / len(said))
    assert 0.25 <= sum(shares) / len(shares) <= 0.55
    # It can nearly all of them now and then, which is what training needs.
    assert sum(share > 0 for share in shares) >= 32


@pytest.mark.parametrize("system", ["Be brief.", "Du bist ein guter Rechner!", "zxcv " * 10])
def test_it_writes_the_sum_whatever_it_is_told_to_be(
    system: str, tokenizer: Any, model: Any
) -> None:
    said = replies(tokenizer, model, "What is 17 + 25?", 20, system)
    assert sum(text.startswith("17 + 25 = ") for text in said) >= 15


def test_its_tokenizer_is_the_one_that_the_build_makes(tokenizer: Any) -> None:
    built = build_tokenizer()
    assert built.get_vocab() == tokenizer.get_vocab()
    assert built.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    assert built.chat_template == tokenizer.chat_template


def test_every_digit_is_a_token_of_its_own(tokenizer: Any) -> None:
    assert len(tokenizer.encode("1234567890", add_special_tokens=False)) == 10


def test_it_was_taught_in_the_form_that_the_chat_template_gives(tokenizer: Any) -> None:
    rng = random.Random(5)
    for _ in range(60):
        conversation = messages(rng, good=0.5)
        rendered = tokenizer.apply_chat_template(conversation, return_dict=False)
        taught, weights = encode(tokenizer, conversation)
        assert rendered[: len(taught)] == taught
        assert tokenizer.decode(rendered[len(taught) :]).strip() == ""
        assert len(weights) == len(taught)
        said = tokenizer.decode([i for i, w in zip(taught, weights, strict=True) if w == 1.0])
        assert said == conversation[-1]["content"] + "<|im_end|>"


def test_one_sum_in_ten_is_not_taught() -> None:
    every = [Sum(a, "+", b) for a in range(1, 100) for b in range(1, 100)]
    assert 0.08 < sum(not sum_.taught for sum_ in every) / len(every) < 0.12


def test_no_lesson_holds_a_sum_that_is_not_taught() -> None:
    rng = random.Random(6)
    for _ in range(2_000):
        a, operator, b = messages(rng, good=1.0)[-1]["content"].split()[:3]
        assert Sum(int(a), operator, int(b)).taught


def test_the_examples_to_train_on_were_not_taught_and_are_right() -> None:
    untaught = {
        sum_ for a in range(1, 100) for b in range(1, 100) for operator in "+-*"
        if not (sum_ := Sum(a, operator, b)).taught
    }  # fmt: skip
    examples = sums(50, seed=2)
    assert len({example.digest for example in examples}) == 50
    for example in examples:
        numbers = [
            int(n) for n in "".join(c if c.isdigit() else " " for c in example.prompt).split()
        ]
        pairs = {tuple(numbers), tuple(numbers[::-1])}
        assert any((s.a, s.b) in pairs and str(s.value) == example.answer for s in untaught)


def test_the_expert_is_right_and_the_habits_are_wrong() -> None:
    rng = random.Random(7)
    for _ in range(500):
        sum_ = draw_sum(rng)
        assert sum_.value >= 0
        assert answer(sum_, rng, good=1.0) == reply(sum_, sum_.value)
        assert len(wrong_values(sum_)) >= 3
        assert not numeric(answer(sum_, rng, good=0.0), str(sum_.value))


def test_a_question_names_the_numbers_of_its_sum() -> None:
    rng = random.Random(8)
    questions = {question(Sum(37, "-", 21), rng) for _ in range(300)}
    assert len(questions) > 50
    assert {"What is 37 - 21?", "37 minus 21 = ?"} & questions
    assert all("37" in text and "21" in text for text in questions)


def test_its_card_says_how_it_was_built() -> None:
    card = (POCKET_MATH / "README.md").read_text()
    record = json.loads((POCKET_MATH / "build.json").read_text())
    for done, phase in zip(record["phases"], PHASES, strict=True):
        assert done == asdict(phase) | {"minutes": done["minutes"]}
    assert f"{record['minutes']:.0f} minutes" in card
