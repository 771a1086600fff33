from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from environment.base import StopReason
from tests.training import victims
from tests.training.conftest import Finished, Start
from tests.training.world import POCKET, rollout
from training.run.store import (
    PolicyRecord,
    RunMismatch,
    base_fingerprint,
    claim,
    export_adapter,
    fingerprint,
    read_policy_record,
    write_trajectories,
)

SETTINGS: dict[str, Any] = {
    "seed": 0,
    "training": {"learning_rate": 0.001, "budget": {"minutes": None}, "loss": "cispo"},
    "data": {"database": "d1"},
    "path": Path("a"),
}


def with_changes(**changes: Any) -> dict[str, Any]:
    return SETTINGS | changes


def test_a_folder_can_be_claimed_again_with_the_same_settings(tmp_path: Path) -> None:
    claim(tmp_path, SETTINGS)
    claim(tmp_path, dict(reversed(SETTINGS.items())))
    assert json.loads((tmp_path / "settings.json").read_text())["training"]["loss"] == "cispo"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": 1}, "seed = 0, now it is 1"),
        (
            {"training": SETTINGS["training"] | {"learning_rate": 0.1}},
            "training.learning_rate = 0.001, now it is 0.1",
        ),
        (
            {"training": SETTINGS["training"] | {"budget": {"minutes": 5}}},
            "training.budget.minutes = None, now it is 5",
        ),
        ({"training": {}}, "training.budget = {'minutes': None}, now it is None"),
        ({"data": {"database": "d1", "more": "x"}}, "data.more = None, now it is x"),
        ({"data": "none"}, "data = {'database': 'd1'}, now it is none"),
        ({"path": Path("b")}, "path = a, now it is b"),
    ],
)
def test_other_settings_are_refused_by_name(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    claim(tmp_path, SETTINGS)
    before = (tmp_path / "settings.json").read_text()
    with pytest.raises(RunMismatch) as refused:
        claim(tmp_path, with_changes(**changed))
    assert message in str(refused.value)
    assert "--name" in str(refused.value)
    assert (tmp_path / "settings.json").read_text() == before


@pytest.mark.parametrize("claimed_before", [False, True])
def test_settings_that_could_be_written_only_in_part_do_not_spoil_the_folder(
    tmp_path: Path, claimed_before: bool, start: Start
) -> None:
    if claimed_before:
        claim(tmp_path, SETTINGS)
    start(victims.claim_on_a_full_disk, tmp_path, SETTINGS).join()
    claim(tmp_path, SETTINGS)


def grow(folder: Path) -> None:
    (folder / "b.txt").write_text("two!")


def add(folder: Path) -> None:
    (folder / "inner" / "c.txt").write_text("")


def swap(folder: Path) -> None:
    (folder / "a.txt").write_text("two")
    (folder / "b.txt").write_text("one")


@pytest.mark.parametrize("change", [grow, add, swap])
def test_a_fingerprint_changes_with_the_content(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "b.txt").write_text("two")
    before = fingerprint(tmp_path)
    (tmp_path / "a.txt").touch()
    assert fingerprint(tmp_path) == before
    change(tmp_path)
    assert fingerprint(tmp_path) != before


def test_a_fingerprint_of_a_file_is_that_of_its_content(tmp_path: Path) -> None:
    one, same, other = (tmp_path / name for name in "abc")
    one.write_bytes(b"x" * 10_000)
    same.write_bytes(b"x" * 10_000)
    other.write_bytes(b"x" * 10_001)
    assert fingerprint(one) == fingerprint(same) != fingerprint(other)


def test_a_base_model_is_known_by_its_weights_and_tokenizer(tmp_path: Path) -> None:
    for name in ("model.safetensors", "tokenizer.json", "tokenizer_config.json", "README.md"):
        (tmp_path / name).write_text(name)
    fingerprints = [base_fingerprint(str(tmp_path))]
    (tmp_path / "README.md").write_text("other")
    assert base_fingerprint(str(tmp_path)) == fingerprints[0]
    for name in ("model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_text("other")
        fingerprints.append(base_fingerprint(str(tmp_path)))
    assert len(set(fingerprints)) == 4
    assert base_fingerprint("Qwen/Qwen2.5-7B-Instruct") == ""


def test_an_exported_adapter_brings_its_record_and_nothing_of_the_trainer(
    finished: Finished,
) -> None:
    adapter = finished.output.adapter
    assert {p.name for p in adapter.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "policy.json",
    }
    assert read_policy_record(adapter) == PolicyRecord(
        base_model=str(POCKET),
        base_fingerprint=base_fingerprint(str(POCKET)),
        lora_rank=8,
        step=3,
        run="run",
        seed=0,
        data={"database": "d", "scenarios": "s"},
    )


def test_exporting_again_replaces_the_adapter(finished: Finished, tmp_path: Path) -> None:
    record = read_policy_record(finished.output.adapter)
    target = tmp_path / "adapter"
    target.mkdir()
    (target / "leftover").touch()
    later = record.model_copy(update={"step": 9, "base_model": "a/b"})
    assert export_adapter(finished.output.adapter, later, target) == target
    assert read_policy_record(target) == later
    assert not (target / "leftover").exists()


def test_trajectories_are_written_as_they_were_and_again_if_the_step_is_repeated(
    tmp_path: Path,
) -> None:
    odd = "\N{PILE OF POO} \u2028 <m1>"
    first = [[rollout(0.0), rollout(1.0, text=odd, success=True)], [rollout(2.0)]]
    write_trajectories(tmp_path / "t", 3, first)
    rows = pq.read_table(tmp_path / "t" / "00003.parquet").to_pylist()
    assert [(r["step"], r["group"], r["reward"]) for r in rows] == [(3, 0, 0), (3, 0, 1), (3, 1, 2)]
    assert json.loads(rows[1]["messages"]) == first[0][1].messages
    assert (rows[1]["success"], rows[1]["reason"]) == (True, "right")
    assert (rows[0]["prompt_tokens"], rows[0]["completion_tokens"]) == (3, 2)

    write_trajectories(tmp_path / "t", 3, [[rollout(9.0, StopReason.ERROR, [], error="down")]])
    (row,) = pq.read_table(tmp_path / "t" / "00003.parquet").to_pylist()
    assert (row["reward"], row["stop"], row["error"], row["turns"]) == (9.0, "error", "down", 0)
    assert [p.name for p in (tmp_path / "t").iterdir()] == ["00003.parquet"]


def test_the_trajectories_of_a_run_are_one_table(finished: Finished) -> None:
    rows = pq.read_table(finished.output.trajectories).to_pylist()
    assert sorted({row["step"] for row in rows}) == [1, 2, 3]
