from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from zenml.io.filesystem_registry import default_filesystem_registry
from zenml.io.local_filesystem import LocalFilesystem

from steps.materializers import FileMaterializer, scratch_folder


class Bucket(LocalFilesystem):
    """Stands for a remote artifact store: ``bucket://`` and a path of this machine, which nothing
    but ZenML's own functions can open."""

    SUPPORTED_SCHEMES: ClassVar[set[str]] = {"bucket://"}


def _remote(function: Callable[..., Any]) -> staticmethod[..., Any]:
    def call(path: object, *rest: Any, **named: Any) -> Any:
        return function(str(path).removeprefix("bucket://"), *rest, **named)

    return staticmethod(call)


def _walk(path: str, **_: Any) -> Iterator[tuple[str, list[str], list[str]]]:
    return ((f"bucket://{folder}", inner, files) for folder, inner, files in os.walk(path))


Bucket.walk = _remote(_walk)  # type: ignore[method-assign,assignment]
for _name in ("open", "exists", "isdir", "makedirs"):
    setattr(Bucket, _name, _remote(getattr(LocalFilesystem, _name)))


@pytest.fixture(params=["local", "remote"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    store = tmp_path / "store"
    store.mkdir()
    if request.param == "local":
        yield str(store)
        return
    default_filesystem_registry.register(Bucket)
    yield f"bucket://{store}"
    del default_filesystem_registry._filesystems["bucket://"]


def through(uri: str, path: Path) -> Path:
    FileMaterializer(uri).save(path)
    return FileMaterializer(uri).load(Path)


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_file_comes_back_with_its_name(uri: str, tmp_path: Path) -> None:
    file = tmp_path / "mails.db"
    file.write_bytes(b"\0\xff" * 1000)
    loaded = through(uri, file)
    assert (loaded.name, loaded.read_bytes()) == ("mails.db", file.read_bytes())


@pytest.mark.parametrize("names", [["one"], ["a", "b"], ["a", "in/b", "in/deep/c"]])
def test_a_folder_comes_back_as_a_folder(uri: str, tmp_path: Path, names: list[str]) -> None:
    folder = tmp_path / "folder"
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    assert tree(through(uri, folder)) == tree(folder)


def test_a_local_artifact_is_read_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert through(str(tmp_path / "store"), tmp_path / "file").is_relative_to(tmp_path / "store")


def test_equal_files_are_equal_artifacts(tmp_path: Path) -> None:
    def digest(path: Path) -> str:
        return FileMaterializer(str(tmp_path / "store")).compute_content_hash(path)

    one, same, other = (tmp_path / name for name in ("one", "same", "other"))
    for folder, text in ((one, "x"), (same, "x"), (other, "y")):
        folder.mkdir()
        (folder / "file").write_text(text)
    assert digest(one) == digest(same) != digest(other)
    assert digest(one / "file") == digest(same / "file") != digest(other / "file")
    (same / "file").rename(same / "renamed")
    assert digest(one) != digest(same)


def test_scratch_folders_are_each_their_own() -> None:
    one, other = scratch_folder(), scratch_folder()
    assert one != other
    assert one.is_dir()
    shutil.rmtree(other)
