"""Problems from our own set, from MBPP and from a file; what cannot be used is counted."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from environment.code.config import CodeDataConfig, SandboxConfig
from environment.code.models import CodeProblem
from environment.code.prepare import make_problems
from environment.code.sources import ProblemError, fingerprint, load_problems, read_problems

FULL: dict[str, Any] = {
    "task_id": 601,
    "text": "Write a function to double a number.",
    "code": "def dbl(x):\r\n  return 2 * x",
    "test_list": ["assert dbl(1) == 2", "assert dbl(2) == 4", "assert dbl(0) == 0"],
    "test_setup_code": "",
    "challenge_test_list": [],
}
SANITIZED: dict[str, Any] = {
    "source_file": "Benchmark Questions Verification V2.ipynb",
    "task_id": 2,
    "prompt": "Write a function to find the root.",
    "code": "def root(x):\n  return math.sqrt(x)",
    "test_imports": ["import math"],
    "test_list": ["assert root(4) == 2", "assert math.isclose(root(2), 1.4142, rel_tol=0.01)"],
}
HELD_OUT = FULL | {"task_id": 11}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A local copy of MBPP, with the folders of its two forms as on the hub."""
    import datasets
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "mbpp"
    card = ["---", "configs:"]
    for name, row in (("full", FULL), ("sanitized", SANITIZED)):
        card += [f"- config_name: {name}", "  data_files:"]
        (folder / name).mkdir(parents=True)
        for split, ids in (("train", 601), ("test", 11), ("validation", 511), ("prompt", 1)):
            card += [f"  - split: {split}", f"    path: {name}/{split}-*"]
            path = folder / name / f"{split}-00000-of-00001.parquet"
            pq.write_table(pa.Table.from_pylist([row | {"task_id": ids}]), path)
    (folder / "README.md").write_text("\n".join([*card, "---", ""]))
    return folder


def jsonl(path: Path, *rows: object) -> CodeDataConfig:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return CodeDataConfig(source="jsonl", path=path)


def load(config: CodeDataConfig) -> tuple[list[CodeProblem], dict[str, int]]:
    skipped: Counter[str] = Counter()
    return load_problems(config, skipped), dict(skipped)


@pytest.mark.parametrize("form", ["full", "sanitized"])
def test_mbpp_is_read_in_both_its_forms(form: str, hub: Path) -> None:
    problems, skipped = load(
        CodeDataConfig(source="mbpp", dataset=str(hub), dataset_config=form)  # type: ignore[arg-type]
    )
    assert [(p.id, p.split) for p in problems] == [("mbpp/601", "train"), ("mbpp/11", "test")]
    assert not skipped
    first = problems[0]
    if form == "full":
        assert first.visible_tests == ("assert dbl(1) == 2",)
        assert first.hidden_tests == ("assert dbl(2) == 4", "assert dbl(0) == 0")
        assert first.solution == "def dbl(x):\n  return 2 * x"
        assert first.text == FULL["text"]
    else:
        assert (first.setup, first.text) == ("import math", SANITIZED["prompt"])


def test_other_splits_may_be_asked_for(hub: Path) -> None:
    config = CodeDataConfig(
        source="mbpp", dataset=str(hub), train_split="validation", test_split="train"
    )
    assert [(p.id, p.split) for p in load(config)[0]] == [
        ("mbpp/511", "train"),
        ("mbpp/601", "test"),
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"test_split": "none"}, "cannot load the dataset .*split none"),
        ({"dataset": "nobody/mbpp-of-nobody"}, "source: jsonl with the file mbpp.jsonl"),
    ],
)
def test_a_data_set_that_is_not_there_is_named(
    settings: dict[str, str], message: str, hub: Path
) -> None:
    with pytest.raises(ProblemError, match=message):
        load(CodeDataConfig(**{"source": "mbpp", "dataset": str(hub)} | settings))  # type: ignore[arg-type]


def test_the_revision_is_pinned_and_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    loads: list[Any] = []

    def load_dataset(*args: Any, **kwargs: Any) -> Any:
        loads.append((args, kwargs["revision"]))
        raise datasets.exceptions.DatasetNotFoundError("no network")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(ProblemError, match="no network"):
        load(CodeDataConfig(source="mbpp"))
    assert loads == [
        (("google-research-datasets/mbpp", "full"), "4bb6404fdc6cacfda99d4ac4205087b89d32030c")
    ]


def test_mbpps_own_file_is_split_by_its_task_ids(tmp_path: Path) -> None:
    rows = [FULL | {"task_id": number} for number in (1, 11, 510, 511, 600, 601, 974)]
    problems, _ = load(jsonl(tmp_path / "p.jsonl", *rows))
    assert [(p.id, p.split) for p in problems] == [
        ("mbpp/601", "train"),
        ("mbpp/974", "train"),
        ("mbpp/11", "test"),
        ("mbpp/510", "test"),
    ]


def test_a_file_may_name_its_splits(tmp_path: Path) -> None:
    rows = [FULL | {"task_id": f"a{i}", "split": s} for i, s in enumerate(("test", "train"))]
    assert [p.id for p in load(jsonl(tmp_path / "p.jsonl", *rows))[0]] == ["mbpp/a1", "mbpp/a0"]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (FULL | {"task_id": 2000}, 'task_id 2000 is not one of MBPP\'s: add "split"'),
        (FULL | {"split": "dev"}, "split must be train or test, not 'dev'"),
        ([1], "line 1: a problem must be an object"),
    ],
)
def test_a_file_that_cannot_be_read_says_where(row: object, fault: str, tmp_path: Path) -> None:
    with pytest.raises(ProblemError, match="line 1") as error:
        load(jsonl(tmp_path / "p.jsonl", row))
    assert fault in str(error.value)


@pytest.mark.parametrize("text", ["{", "\ud800", "[" * 100_000])
def test_a_file_that_is_no_jsonl_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    good = json.dumps(FULL | {"split": "train"}).encode()
    path.write_bytes(good + b"\n" + text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ProblemError, match=r"p\.jsonl, line 2: not JSON"):
        load(CodeDataConfig(source="jsonl", path=path))
    with pytest.raises(ProblemError, match="cannot read"):
        load(CodeDataConfig(source="jsonl", path=tmp_path / "none"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"test_list": ["assert dbl(1) == 2"]}, "too_few_tests"),
        ({"test_list": ["assert dbl(1) == 2", "assert all(dbl(x) for x in (1,))"]}, "test_not_separable"),
        ({"test_list": ["assert dbl(1) == 2", "x = 1"]}, "test_not_separable"),
        ({"test_list": ["assert dbl(1) == 2", "assert dbl(1"]}, "malformed"),
        ({"test_list": None}, "malformed"),
        ({"test_setup_code": "(" * 5000 + ")" * 5000}, "malformed"),
        ({"text": ""}, "malformed"),
    ],
)  # fmt: skip
def test_a_problem_that_cannot_be_used_is_counted(
    change: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    problems, skipped = load(jsonl(tmp_path / "p.jsonl", FULL, HELD_OUT, FULL | change))
    assert (len(problems), skipped) == (2, {reason: 1})


@pytest.mark.parametrize(("visible", "hidden"), [(0, 3), (1, 2), (2, 1)])
def test_so_many_tests_are_shown(visible: int, hidden: int, tmp_path: Path) -> None:
    config = jsonl(tmp_path / "p.jsonl", FULL, HELD_OUT)
    problems, _ = load(config.model_copy(update={"visible_tests": visible}))
    assert [(len(p.visible_tests), len(p.hidden_tests)) for p in problems] == [
        (visible, hidden)
    ] * 2


def test_challenge_tests_are_hidden(tmp_path: Path) -> None:
    row = HELD_OUT | {"challenge_test_list": ["assert dbl(9) == 18"]}
    problems, _ = load(jsonl(tmp_path / "p.jsonl", FULL, row))
    assert problems[1].hidden_tests[-1] == "assert dbl(9) == 18"


def test_limits_are_of_each_split(tmp_path: Path) -> None:
    rows = [FULL | {"task_id": i} for i in (601, 602, 603, 11, 12)]
    config = jsonl(tmp_path / "p.jsonl", *rows)
    limited = config.model_copy(update={"train_limit": 2, "test_limit": 1})
    assert [p.id for p in load(limited)[0]] == ["mbpp/601", "mbpp/602", "mbpp/11"]


def test_a_split_without_problems_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ProblemError, match="no problem to test on"):
        load(jsonl(tmp_path / "p.jsonl", FULL))


def test_it_says_why_nothing_is_left(tmp_path: Path) -> None:
    config = jsonl(tmp_path / "p.jsonl", FULL, HELD_OUT)
    with pytest.raises(ProblemError, match=r"no problem to train on \(left out: 2 too_few_tests"):
        load(config.model_copy(update={"visible_tests": 3}))


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_problem_may_be_there_once(split: str, tmp_path: Path) -> None:
    rows = [FULL, HELD_OUT, FULL | {"split": split}]
    with pytest.raises(ProblemError, match="mbpp/601 2 times"):
        load(jsonl(tmp_path / "p.jsonl", *rows))


def test_what_is_held_out_is_not_trained_on(hub: Path) -> None:
    config = CodeDataConfig(source="mbpp", dataset=str(hub), train_split="test")
    with pytest.raises(ProblemError, match="mbpp/11 2 times"):
        load(config)


def test_a_file_needs_its_path() -> None:
    with pytest.raises(ValidationError, match="needs path"):
        CodeDataConfig(source="jsonl")


def test_solutions_are_run_and_those_that_fail_left_out(tmp_path: Path) -> None:
    rows = [
        FULL,
        HELD_OUT,
        FULL | {"task_id": 602, "code": "def dbl(x):\n  return 3 * x"},
        FULL | {"task_id": 603, "code": "def dbl(x:"},
        FULL | {"task_id": 604, "code": ""},
    ]
    config, out = jsonl(tmp_path / "p.jsonl", *rows), tmp_path / "out.jsonl"
    report = make_problems(config, SandboxConfig(workers=2), out)
    assert report.model_dump() == {
        "train": 2,
        "test": 1,
        "skipped": {"solution_wrong_answer": 1, "solution_syntax": 1},
    }
    kept = read_problems(out)
    assert [p.id for p in kept] == ["mbpp/601", "mbpp/604", "mbpp/11"]
    unchecked = make_problems(config.model_copy(update={"verify": False}), SandboxConfig(), out)
    assert unchecked.train == 4


def test_nothing_usable_left_is_an_error_that_says_why(tmp_path: Path) -> None:
    wrong = FULL | {"code": "def dbl(x):\n  return 3 * x"}
    config = jsonl(tmp_path / "p.jsonl", wrong, HELD_OUT)
    with pytest.raises(ProblemError, match="1 solution_wrong_answer"):
        make_problems(config, SandboxConfig(workers=1), tmp_path / "out.jsonl")


def test_a_file_of_something_else_is_no_file_of_problems(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"id": 1}\n')
    with pytest.raises(ProblemError, match="holds no problems"):
        read_problems(path)


def test_a_changed_local_copy_has_another_fingerprint(hub: Path) -> None:
    config = CodeDataConfig(source="mbpp", dataset=str(hub))
    before = fingerprint(config)
    assert before
    (hub / "full" / "train-00000-of-00001.parquet").write_bytes(b"other")
    assert fingerprint(config) != before


def test_a_changed_file_has_another_fingerprint(tmp_path: Path) -> None:
    config = jsonl(tmp_path / "p.jsonl", FULL)
    before = fingerprint(config)
    jsonl(tmp_path / "p.jsonl", HELD_OUT)
    assert fingerprint(config) != before
    assert fingerprint(CodeDataConfig(source="mbpp")) == ""
    assert len(fingerprint(CodeDataConfig())) == 64
