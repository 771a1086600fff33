"""The committed code policy: what it promises on its card."""

from __future__ import annotations

import json
import random
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from environment.code import prompts
from environment.code.bundled import problems
from environment.code.bundled.families import FAMILIES
from environment.code.bundled.recipes import combinations, draw_recipe
from environment.code.grader import grade
from environment.code.models import CodeProblem, Verdict
from environment.code.sandbox.base import Limits, Sandbox
from environment.code.sandbox.isolated import IsolatedSandbox
from models.pocket_code.build import PHASES, build_tokenizer
from models.pocket_code.demos import demonstrate, feedback_of, recipes
from models.pocket_code.lessons import encode, messages_of
from models.pocket_code.tokenizer import MAX_ATTEMPTS

POCKET_CODE = Path(__file__).parents[2] / "models" / "pocket_code"
MIB = 2**20
ONE_OF_EACH = ("numbers", "words", "letters", "tables")


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(POCKET_CODE)


@pytest.fixture(scope="module")
def model() -> Any:
    return AutoModelForCausalLM.from_pretrained(POCKET_CODE, dtype=torch.float32).eval()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def sandbox() -> Any:
    opened = IsolatedSandbox(Limits(wall_s=5, cpu_s=2, memory_mib=256), workers=1)
    yield opened
    await opened.close()


def reply_of(tokenizer: Any, model: Any, problem: CodeProblem) -> str:
    """The most likely first reply to a problem."""
    messages = [
        {"role": "system", "content": prompts.REFINE_SYSTEM},
        {"role": "user", "content": prompts.task(problem.text, problem.visible_tests)},
    ]
    prompt = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt"
    )["input_ids"]
    reply = model.generate(prompt, max_new_tokens=96, do_sample=False)[0, prompt.shape[1] :]
    return str(tokenizer.decode(reply, skip_special_tokens=True))


def test_it_is_small() -> None:
    assert (POCKET_CODE / "model.safetensors").stat().st_size <= 6 * MIB
    assert sum(file.stat().st_size for file in POCKET_CODE.rglob("*") if file.is_file()) <= 7 * MIB


def test_it_is_a_plain_model_of_its_library(model: Any, tokenizer: Any) -> None:
    assert model.config.model_type == "qwen2"
    assert sum(p.numel() for p in model.parameters()) <= 3_000_000
    assert len(tokenizer) == model.config.vocab_size


@pytest.mark.asyncio(loop_scope="module")
async def test_it_solves_held_out_problems_of_every_family_but_not_all(
    tokenizer: Any, model: Any, sandbox: Sandbox
) -> None:
    verdicts: dict[str, list[Verdict]] = {}
    for kind in ONE_OF_EACH:
        held_out = [p for p in problems() if p.split == "test" and p.kind == kind]
        for problem in held_out[:8]:
            program = prompts.program_in(reply_of(tokenizer, model, problem)) or ""
            graded = await grade(sandbox, problem, program, problem.hidden_tests, {})
            verdicts.setdefault(kind, []).append(graded.attempt.verdict)
    for kind in ONE_OF_EACH:
        assert Verdict.PASSED in verdicts[kind], kind
    assert any(verdict is not Verdict.PASSED for each in verdicts.values() for verdict in each)


def test_its_tokenizer_is_the_one_that_the_build_makes(tokenizer: Any) -> None:
    built = build_tokenizer()
    assert built.get_vocab() == tokenizer.get_vocab()
    assert built.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    assert built.chat_template == tokenizer.chat_template


def test_the_system_prompt_costs_one_token(tokenizer: Any) -> None:
    ids = tokenizer.apply_chat_template(
        [{"role": "system", "content": prompts.REFINE_SYSTEM}, {"role": "user", "content": "x"}],
        return_dict=False,
    )
    assert prompts.REFINE_SYSTEM in tokenizer.decode(ids[:1])


def test_it_was_taught_in_the_form_that_the_chat_template_gives(tokenizer: Any) -> None:
    rng = random.Random(5)
    several = 0
    for recipe in islice(recipes(rng), 60):
        demo = demonstrate(recipe, rng, good=0.4, recovers=0.5)
        rendered = tokenizer.apply_chat_template(messages_of(demo), return_dict=False)
        taught, weights = encode(tokenizer, demo)
        assert tokenizer.decode(rendered).strip() == tokenizer.decode(taught).strip()
        assert rendered[: len(taught)] == taught
        assert len(weights) == len(taught) <= 400
        several += len(demo.turns) > 1
    assert several >= 10


def test_every_turn_of_a_conversation_begins_with_the_turns_before_it(tokenizer: Any) -> None:
    rng = random.Random(6)
    for recipe in islice(recipes(rng), 40):
        messages = messages_of(demonstrate(recipe, rng, good=0.1, recovers=0.5))
        whole = tokenizer.apply_chat_template(messages, return_dict=False)
        for end in range(2, len(messages), 2):
            prompt = tokenizer.apply_chat_template(
                messages[:end], add_generation_prompt=True, return_dict=False
            )
            assert whole[: len(prompt)] == prompt


def test_its_lessons_use_no_combination_of_the_held_out_problems() -> None:
    held_out = {
        recipe.combination
        for family in FAMILIES
        for parts in combinations(family)
        if (recipe := draw_recipe(family, parts, random.Random(0))).split == "test"
    }
    taught = {recipe.combination for recipe in islice(recipes(random.Random(0)), 5_000)}
    assert len(held_out) > 100
    assert len(taught) > 300
    assert not taught & held_out


@pytest.mark.asyncio(loop_scope="module")
async def test_its_lessons_say_of_a_failure_what_the_grader_says(sandbox: Sandbox) -> None:
    rng = random.Random(7)
    texts = set()
    for recipe in islice(recipes(rng), 30):
        demo = demonstrate(recipe, rng, good=0.0, recovers=0.5)
        turn = demo.turns[0]
        test = demo.user_prompt.splitlines()[-1]
        problem = CodeProblem(id="p/1", split="train", text="x", hidden_tests=(test,))
        graded = await grade(sandbox, problem, turn.program, (test,), {})
        assert turn.feedback == feedback_of(turn.program, test) == graded.attempt.feedback
        texts.add(turn.feedback.partition(":")[0])
    assert "SyntaxError" in texts


def test_an_episode_ends_when_the_visible_test_holds() -> None:
    rng = random.Random(8)
    for recipe in islice(recipes(rng), 200):
        demo = demonstrate(recipe, rng, good=0.5, recovers=0.5)
        assert 1 <= len(demo.turns) <= MAX_ATTEMPTS
        assert all(turn.feedback for turn in demo.turns[:-1])
        assert not demo.turns[-1].feedback or len(demo.turns) == MAX_ATTEMPTS


def test_its_card_says_how_it_was_built() -> None:
    card = (POCKET_CODE / "README.md").read_text()
    record = json.loads((POCKET_CODE / "build.json").read_text())
    for done, phase in zip(record["phases"], PHASES, strict=True):
        assert done == asdict(phase) | {"minutes": done["minutes"]}
    assert f"{record['minutes']:.0f} minutes" in card
