"""Mirror a run folder to the artifact store, for steps whose disk is lost with their pod.

Files are stored under their digest and never changed. A save is complete once its manifest, written
last, is valid JSON, so a kill at any moment leaves the previous save intact. Nor can an abandoned
attempt that is still running damage the files of its successor.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from zenml.client import Client
from zenml.io import fileio

from environment.base import UserError

log = logging.getLogger(__name__)


class DamagedMirror(UserError):
    """A file of a save is missing or differs from its manifest."""


class RunMirror:
    """The newest save of one run. ``uri`` is a folder of the artifact store for this run alone."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._objects = f"{uri}/objects"
        self._saved: dict[str, str] = {}  # files of the newest save: digests by path

    @classmethod
    def of_run(cls, project: str, name: str) -> RunMirror:
        """The mirror of a run in the artifact store of the active stack."""
        return cls(f"{Client().active_stack.artifact_store.path}/run_folders/{project}/{name}")

    def restore(self, folder: Path) -> int:
        """Fill an empty folder with the newest save. Returns its step; 0 if there is none.

        Raises:
            DamagedMirror: see there.
        """
        for name in sorted(self._manifests(), reverse=True):
            manifest = self._read(name)
            if manifest is not None:
                break
        else:
            return 0
        for path, digest in manifest["files"].items():
            self._download(folder / path, digest, name)
        self._saved = manifest["files"]
        return int(manifest["step"])

    def save(self, folder: Path, files: Iterable[Path], step: int) -> None:
        """Save these files of the folder, and delete older saves. ``step`` must not decrease."""
        known = set(self._saved.values())
        fileio.makedirs(self._objects)
        saved = {}
        for file in files:
            digest = _digest(file)
            if digest not in known:
                # Only files that this attempt has stored or read are known to be intact.
                fileio.copy(str(file), f"{self._objects}/{digest}", overwrite=True)
                known.add(digest)
            saved[str(file.relative_to(folder))] = digest
        name = f"{step:06d}.json"
        with fileio.open(f"{self.uri}/{name}", "w") as manifest:
            manifest.write(json.dumps({"step": step, "files": saved}))
        unused = [f"{self.uri}/{older}" for older in self._manifests() if older < name]
        unused += [f"{self._objects}/{digest}" for digest in known - set(saved.values())]
        for path in unused:
            if fileio.exists(path):  # another attempt may have removed it
                fileio.remove(path)
        self._saved = saved

    def _manifests(self) -> list[str]:
        if not fileio.exists(self.uri):
            return []
        return [name for name in fileio.listdir(self.uri) if name.endswith(".json")]

    def _read(self, name: str) -> dict[str, Any] | None:
        with fileio.open(f"{self.uri}/{name}", "r") as file:
            try:
                return json.load(file)
            except ValueError:
                log.warning("ignoring incomplete manifest %s/%s", self.uri, name)
                return None

    def _download(self, target: Path, digest: str, manifest: str) -> None:
        source = f"{self._objects}/{digest}"
        target.parent.mkdir(parents=True, exist_ok=True)
        whole = fileio.exists(source)
        if whole:
            fileio.copy(source, str(target))
            whole = _digest(target) == digest
        if not whole:
            raise DamagedMirror(
                f"cannot restore {target.name}: {source} is missing or damaged. Delete {self.uri} to start "
                f"the run over, or use another --name; {manifest} lists all required files"
            )


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
