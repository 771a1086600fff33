"""What of a run survives the disk of its pod."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zenml.io import fileio

from steps.run_mirror import DamagedMirror, RunMirror


class Killed(BaseException):
    """As if the process ended here."""


def write(folder: Path, contents: dict[str, str]) -> list[Path]:
    for name, text in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return [folder / name for name in contents]


def read(folder: Path) -> dict[str, str]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): file.read_text() for file in files}


def at_step(step: int) -> dict[str, str]:
    """A run folder after a step, with one file that grows, one that is new and one that stays."""
    return {
        "settings.json": "{}",
        "metrics.jsonl": "".join(f"{n}\n" for n in range(1, step + 1)),
        f"art/checkpoints/{step:04d}/adapter": f"weights {step}",
        **{f"trajectories/{n:05d}.parquet": f"rollouts {n}" for n in range(1, step + 1)},
    }


def save(uri: Path, folder: Path, step: int, mirror: RunMirror | None = None) -> RunMirror:
    mirror = mirror or RunMirror(str(uri))
    mirror.save(folder, write(folder, at_step(step)), step)
    return mirror


def test_a_run_that_was_never_saved_begins_at_step_0(tmp_path: Path) -> None:
    assert RunMirror(str(tmp_path / "store")).restore(tmp_path / "new") == 0
    assert read(tmp_path) == {}


def test_the_newest_save_is_restored_as_it_was(tmp_path: Path) -> None:
    mirror = save(tmp_path / "store", tmp_path / "pod", 1)
    save(tmp_path / "store", tmp_path / "pod", 2, mirror)
    assert RunMirror(str(tmp_path / "store")).restore(tmp_path / "next") == 2
    assert read(tmp_path / "next") == at_step(2)


def test_the_store_keeps_nothing_but_the_newest_save(tmp_path: Path) -> None:
    mirror = save(tmp_path / "store", tmp_path / "pod", 1)
    for step in (2, 3):
        save(tmp_path / "store", tmp_path / "pod", step, mirror)
    stored = read(tmp_path / "store")
    manifest = json.loads(stored.pop("000003.json"))
    assert {f"objects/{digest}" for digest in manifest["files"].values()} == stored.keys()


def test_a_file_that_did_not_change_is_sent_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = []
    copy = fileio.copy
    monkeypatch.setattr(
        fileio,
        "copy",
        lambda source, *rest, **named: (sent.append(source), copy(source, *rest, **named)),
    )
    mirror = save(tmp_path / "store", tmp_path / "pod", 1)
    save(tmp_path / "store", tmp_path / "pod", 2, mirror)
    assert [Path(path).name for path in sent].count("00001.parquet") == 1
    successor = RunMirror(str(tmp_path / "store"))
    successor.restore(tmp_path / "next")
    sent.clear()
    save(tmp_path / "store", tmp_path / "next", 3, successor)
    assert {Path(path).name for path in sent} == {"metrics.jsonl", "adapter", "00003.parquet"}


@settings(max_examples=60, deadline=None)
@given(moment=st.integers(0, 20), half=st.booleans())
def test_killed_at_any_moment_the_last_whole_save_is_restored(
    tmp_path_factory: pytest.TempPathFactory, moment: int, half: bool
) -> None:
    """Every change of the store is a moment, and a file may be there in half."""
    folder = tmp_path_factory.mktemp("run")
    store = folder / "store"
    mirror = save(store, folder / "pod", 1)
    changes = iter(range(1000))
    copy = fileio.copy

    def or_die(change):
        def changed(*arguments, **named):
            if next(changes) == moment:
                if half and change is copy:
                    change(*arguments, **named)
                    newest = max(
                        (f for f in store.rglob("*") if f.is_file()),
                        key=lambda f: f.stat().st_mtime_ns,
                    )
                    newest.write_text(newest.read_text()[:-1])
                raise Killed
            return change(*arguments, **named)

        return changed

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(fileio, "copy", or_die(fileio.copy))
        patched.setattr(fileio, "remove", or_die(fileio.remove))
        with suppress(Killed):
            save(store, folder / "pod", 2, mirror)
    successor = RunMirror(str(store))
    step = successor.restore(folder / "next")
    assert step in (1, 2)
    assert read(folder / "next") == at_step(step)
    save(store, folder / "next", step + 1, successor)
    assert RunMirror(str(store)).restore(folder / "last") == step + 1
    assert read(folder / "last") == at_step(step + 1)


@pytest.mark.parametrize("length", [0, 1, 20, -1])
def test_half_a_manifest_does_not_count(tmp_path: Path, length: int) -> None:
    save(tmp_path / "store", tmp_path / "pod", 1)
    whole = json.dumps({"step": 2, "files": {"a": "b"}})
    (tmp_path / "store" / "000002.json").write_text(whole[:length])
    assert RunMirror(str(tmp_path / "store")).restore(tmp_path / "next") == 1
    assert read(tmp_path / "next") == at_step(1)


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_a_damaged_file_stops_the_run_and_says_what_to_do(tmp_path: Path, damage: str) -> None:
    save(tmp_path / "store", tmp_path / "pod", 1)
    manifest = json.loads((tmp_path / "store" / "000001.json").read_text())
    stored = tmp_path / "store" / "objects" / manifest["files"]["metrics.jsonl"]
    if damage == "missing":
        stored.unlink()
    else:
        stored.write_text("2\n")
    with pytest.raises(DamagedMirror, match=r"cannot restore metrics\.jsonl: .*Delete .*--name"):
        RunMirror(str(tmp_path / "store")).restore(tmp_path / "next")


def test_an_attempt_that_lives_on_does_not_spoil_its_successor(tmp_path: Path) -> None:
    given_up = save(tmp_path / "store", tmp_path / "old", 1)
    successor = RunMirror(str(tmp_path / "store"))
    successor.restore(tmp_path / "new")
    save(tmp_path / "store", tmp_path / "old", 2, given_up)
    save(tmp_path / "store", tmp_path / "new", 2, successor)
    assert RunMirror(str(tmp_path / "store")).restore(tmp_path / "next") == 2
    assert read(tmp_path / "next") == at_step(2)
