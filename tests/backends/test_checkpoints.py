from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from backends import checkpoints


def writer(text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "weights").write_text(text)
        (folder / "deep").mkdir()
        (folder / "deep" / "more").write_text(text)
        (folder / checkpoints.METRICS).write_text('{"loss": 1.5}')

    return write


def failing(folder: Path) -> None:
    (folder / "weights").write_text("half")
    raise OSError("no space left")


def weights(model_dir: Path, step: int) -> str:
    return (checkpoints.checkpoint_dir(model_dir, step) / "weights").read_text()


def test_a_model_without_checkpoints_has_none(tmp_path: Path) -> None:
    assert checkpoints.steps(tmp_path) == []
    assert checkpoints.trainer_metrics(tmp_path, 1) == {}


def test_a_checkpoint_is_written_whole(tmp_path: Path) -> None:
    folder = checkpoints.write_checkpoint(tmp_path, 12, writer("a"))
    assert folder == tmp_path / "checkpoints" / "0012"
    assert (folder / "deep" / "more").read_text() == "a"
    assert checkpoints.trainer_metrics(tmp_path, 12) == {"loss": 1.5}
    assert [path.name for path in folder.parent.iterdir()] == ["0012"]


def test_steps_are_in_order(tmp_path: Path) -> None:
    for step in (10, 2, 0, 12345):
        checkpoints.write_checkpoint(tmp_path, step, writer("a"))
    assert checkpoints.steps(tmp_path) == [0, 2, 10, 12345]


def test_a_writer_that_fails_leaves_no_checkpoint(tmp_path: Path) -> None:
    checkpoints.write_checkpoint(tmp_path, 1, writer("old"))
    with pytest.raises(OSError, match="no space"):
        checkpoints.write_checkpoint(tmp_path, 2, failing)
    assert checkpoints.steps(tmp_path) == [1]
    assert not checkpoints.checkpoint_dir(tmp_path, 2).exists()


def test_a_writer_that_fails_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    checkpoints.write_checkpoint(tmp_path, 1, writer("old"))
    with pytest.raises(OSError, match="no space"):
        checkpoints.write_checkpoint(tmp_path, 1, failing)
    assert weights(tmp_path, 1) == "old"


def test_a_checkpoint_can_be_written_anew(tmp_path: Path) -> None:
    checkpoints.write_checkpoint(tmp_path, 1, writer("old"))
    checkpoints.write_checkpoint(tmp_path, 1, writer("new"))
    assert weights(tmp_path, 1) == "new"


def test_a_write_after_a_failed_one_starts_afresh(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no space"):
        checkpoints.write_checkpoint(tmp_path, 1, failing)
    folder = checkpoints.write_checkpoint(tmp_path, 1, lambda f: (f / "other").touch())
    assert [path.name for path in folder.iterdir()] == ["other"]


def test_what_is_no_checkpoint_is_ignored(tmp_path: Path) -> None:
    checkpoints.write_checkpoint(tmp_path, 3, writer("a"))
    folder = tmp_path / "checkpoints"
    for name in ("0004.partial", "latest", "-5", "4.5"):
        (folder / name).mkdir()
    (folder / "0009").write_text("a file")
    assert checkpoints.steps(tmp_path) == [3]


def test_prune_keeps_what_it_is_told_and_clears_what_was_left_behind(tmp_path: Path) -> None:
    for step in range(5):
        checkpoints.write_checkpoint(tmp_path, step, writer(str(step)))
    with pytest.raises(OSError, match="no space"):
        checkpoints.write_checkpoint(tmp_path, 5, failing)
    checkpoints.prune(tmp_path, keep=[0, 3, 99])
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["0000", "0003"]
    assert weights(tmp_path, 3) == "3"


def test_a_copy_has_the_weights_and_no_metrics(tmp_path: Path) -> None:
    checkpoints.write_checkpoint(tmp_path, 1, writer("a"))
    folder = checkpoints.copy_checkpoint(tmp_path, 1, 2)
    assert (folder / "deep" / "more").read_text() == "a"
    assert checkpoints.trainer_metrics(tmp_path, 2) == {}
    assert checkpoints.trainer_metrics(tmp_path, 1) == {"loss": 1.5}
    assert checkpoints.steps(tmp_path) == [1, 2]


def test_a_copy_of_nothing_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        checkpoints.copy_checkpoint(tmp_path, 1, 2)
    assert checkpoints.steps(tmp_path) == []


def test_arts_own_count_agrees(tmp_path: Path) -> None:
    from art.utils.get_model_step import get_step_from_dir
    from art.utils.output_dirs import get_step_checkpoint_dir

    checkpoints.write_checkpoint(tmp_path, 7, writer("a"))
    with pytest.raises(OSError, match="no space"):
        checkpoints.write_checkpoint(tmp_path, 8, failing)
    assert get_step_from_dir(str(tmp_path)) == 7
    assert get_step_checkpoint_dir(str(tmp_path), 7) == str(checkpoints.checkpoint_dir(tmp_path, 7))
