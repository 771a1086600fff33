"""Examples in files, and which of them are held out."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from environment.jsonl import write_jsonl
from environment.prompt_task.examples import (
    ExampleError,
    check_examples,
    different,
    fingerprint,
    make_examples,
    read_examples,
    scenarios_of,
)
from environment.prompt_task.models import Example

MANY = [Example(prompt=f"What is {n} + {n}?", answer=str(2 * n)) for n in range(50)]


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows))
    return path


def split(examples: list[Example], share: float) -> dict[str, set[str]]:
    scenarios = scenarios_of(examples, share)
    return {name: {s.prompt for s in scenarios if s.split == name} for name in ("train", "test")}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    odd = Example(prompt="Wie heißt\nder Fluß?\u2028", answer=None)
    write_jsonl(tmp_path / "e.jsonl", [*MANY, odd])
    assert read_examples(tmp_path / "e.jsonl") == [*MANY, odd]


@pytest.mark.parametrize(
    ("row", "fault", "why"),
    [
        ("no JSON", "not JSON", "Expecting value"),
        ("[" * 100_000, "not JSON", "recursion"),
        ("[1]", "not an example", "valid dictionary"),
        ({"answer": "4"}, "not an example", "Field required"),
        ({"prompt": " \n"}, "not an example", "match pattern"),
        ({"prompt": "x", "answer": 4}, "not an example", "valid string"),
        ({"prompt": "x", "gold": "4"}, "not an example", "Extra inputs"),
    ],
)
def test_a_line_that_is_no_example_is_named(tmp_path: Path, row: Any, fault: str, why: str) -> None:
    path = lines(tmp_path / "e.jsonl", {"prompt": "x"}, row)
    with pytest.raises(ExampleError, match=f"line 2: {fault}") as raised:
        read_examples(path)
    assert why in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExampleError, match=r"none\.jsonl"):
        read_examples(tmp_path / "none.jsonl")


@pytest.mark.parametrize(("share", "held_out"), [(0.0, 0), (0.1, 5), (0.2, 10), (0.5, 25)])
def test_the_share_that_is_held_out(share: float, held_out: int) -> None:
    of = split(MANY, share)
    assert len(of["test"]) == held_out
    assert of["test"].isdisjoint(of["train"])
    assert of["test"] | of["train"] == {e.prompt for e in MANY}


def test_the_split_depends_on_no_order_and_no_answer() -> None:
    mixed = random.Random(0).sample(MANY, len(MANY))
    assert split(mixed, 0.2) == split(MANY, 0.2)
    assert split([Example(prompt=e.prompt) for e in MANY], 0.2) == split(MANY, 0.2)
    assert split(MANY, 0.2)["test"] < split(MANY, 0.5)["test"]
    # And it is no accident of the order of the prompts or of their ids.
    assert split(MANY, 0.2)["test"] != {e.prompt for e in MANY[:10]}
    ids = sorted(s.id for s in scenarios_of(MANY, 0.2))
    assert {s.id for s in scenarios_of(MANY, 0.2) if s.split == "test"} != set(ids[:10])


@pytest.mark.parametrize(("count", "train", "test"), [(1, 1, 0), (2, 1, 1), (3, 2, 1)])
def test_few_examples_are_of_both_splits_where_they_can_be(
    count: int, train: int, test: int
) -> None:
    for share in (0.01, 0.2):
        of = split(MANY[:count], share)
        assert (len(of["train"]), len(of["test"])) == (train, test)
    assert len(split(MANY[:count], 0.99)["train"]) == 1


def test_the_same_prompt_is_one_example_however_it_is_spaced() -> None:
    same = [
        Example(prompt="What is 2 + 2?", answer="4"),
        Example(prompt=" what  is 2 + 2? ", answer="4"),
        Example(prompt="What is 2 + 3?", answer="5"),
    ]
    assert different(same) == [same[0], same[2]]
    assert len(scenarios_of(same, 0.5)) == 2


@pytest.mark.parametrize("answer", ["5", None])
def test_a_prompt_with_two_answers_is_refused(answer: str | None) -> None:
    two = [Example(prompt="What is 2 + 2?", answer="4"), Example(prompt="what is 2 + 2?")]
    with pytest.raises(ExampleError, match=r"What is 2 \+ 2\?|what is 2 \+ 2\?"):
        different([two[0], two[1].model_copy(update={"answer": answer})])


def test_examples_that_cannot_be_verified_are_refused() -> None:
    some = [*MANY, Example(prompt="Why?"), Example(prompt="How?")]
    with pytest.raises(ExampleError, match=r"2 of 52 .*by numeric.*'Why\?'.*no answer.*RULER"):
        check_examples(some, "numeric")
    check_examples(some, None)
    check_examples(MANY, "numeric")
    with pytest.raises(ExampleError, match="no example"):
        check_examples([], None)


def test_the_data_pipeline_keeps_each_prompt_once(tmp_path: Path) -> None:
    source, file = tmp_path / "source.jsonl", tmp_path / "made.jsonl"
    write_jsonl(source, [*MANY, MANY[0], Example(prompt="Why?")])
    report = make_examples(source, file, 0.2)
    assert (report.train, report.test, report.with_answer) == (41, 10, 50)
    assert report.skipped == {"repeated": 1}
    assert read_examples(file) == [*MANY, Example(prompt="Why?")]
    with pytest.raises(ExampleError, match=r"data\.path"):
        make_examples(None, file, 0.2)
    with pytest.raises(ExampleError, match="no example"):
        make_examples(lines(tmp_path / "empty.jsonl", ""), file, 0.2)


def test_changed_examples_have_another_fingerprint(tmp_path: Path) -> None:
    path = lines(tmp_path / "e.jsonl", {"prompt": "x"})
    before = fingerprint(path)
    assert before == fingerprint(path)
    lines(path, {"prompt": "y"})
    assert before != fingerprint(path)
    assert fingerprint(None) == fingerprint(tmp_path / "none.jsonl") == ""
