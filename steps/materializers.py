"""Files as artifacts, read in place if the artifact store is a local folder.

ZenML's own materializer copies a file to a temporary folder on every load and leaves it there, but
several steps of every run load a database of a gigabyte.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any, ClassVar

from zenml.enums import ArtifactType
from zenml.io import fileio
from zenml.materializers.base_materializer import BaseMaterializer

_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def scratch_folder() -> Path:
    """A temporary folder that is removed when this process exits."""
    folder = tempfile.TemporaryDirectory(prefix="art-rl-")
    _KEPT.append(folder)
    return Path(folder.name)


class FileMaterializer(BaseMaterializer):
    """A file, or a folder of files. Treat what ``load`` returns as read-only."""

    ASSOCIATED_TYPES: ClassVar[tuple[type[Any], ...]] = (Path,)
    ASSOCIATED_ARTIFACT_TYPE: ClassVar[ArtifactType] = ArtifactType.DATA
    # Only for steps that name it: ZenML's own stays the default for Path.
    SKIP_REGISTRATION: ClassVar[bool] = True

    _CONTENT = "content"

    def save(self, data: Path) -> None:
        target = os.path.join(self.uri, self._CONTENT)
        fileio.makedirs(target)
        if data.is_file():
            fileio.copy(str(data), os.path.join(target, data.name))
            return
        for file in sorted(p for p in data.rglob("*") if p.is_file()):
            destination = os.path.join(target, str(file.relative_to(data)))
            fileio.makedirs(os.path.dirname(destination))
            fileio.copy(str(file), destination)
        # Distinguishes a folder with one file from that file.
        with fileio.open(os.path.join(self.uri, "folder"), "w") as marker:
            marker.write("1")

    def load(self, data_type: type[Any]) -> Path:
        source = os.path.join(self.uri, self._CONTENT)
        local = Path(source) if os.path.isdir(source) else self._download(source)
        if fileio.exists(os.path.join(self.uri, "folder")):
            return local
        (file,) = local.iterdir()
        return file

    def compute_content_hash(self, data: Path) -> str:
        """Equal files are equal artifacts, so that steps that read them stay cached."""
        digest = hashlib.sha256()
        for file in [data] if data.is_file() else sorted(p for p in data.rglob("*") if p.is_file()):
            digest.update(f"{file.name}\0".encode())
            with file.open("rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
        return digest.hexdigest()

    def _download(self, source: str) -> Path:
        target = scratch_folder()
        for folder, _, files in fileio.walk(source):
            inside = os.path.relpath(str(folder), source)
            for name in files:
                destination = target / inside / str(name)
                destination.parent.mkdir(parents=True, exist_ok=True)
                fileio.copy(os.path.join(str(folder), str(name)), str(destination))
        return target
