"""A run folder's state in the artifact store, for steps whose disk goes with their pod.

Files are stored under their digest and never changed; a manifest that names them is written last
and is what makes a save. So a kill at any moment leaves the save before it: what an interrupted one
left behind no manifest names, and half a manifest is not JSON. An attempt that lives on after it was
given up cannot spoil its successor's files either.
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
    """A file of a save is missing or has other contents than its manifest says."""


class RunMirror:
    """The saves of one run, of which it keeps the newest.

    Args:
        uri: a folder of the artifact store that is this run's alone.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._objects = f"{uri}/objects"
        self._saved: dict[str, str] = {}  # files of the newest save: digests by path

    @classmethod
    def of_run(cls, project: str, name: str) -> RunMirror:
        """That of a run, in the artifact store of the active stack."""
        return cls(f"{Client().active_stack.artifact_store.path}/run_folders/{project}/{name}")

    def restore(self, folder: Path) -> int:
        """Fill an empty folder with the newest save. Returns its step; 0 if there is none.

        Raises:
            DamagedMirror: the store does not hold what was saved.
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
        """Make the newest save of these files of the folder.

        Args:
            step: must not be lower than that of an earlier save.
        """
        known = set(self._saved.values())
        fileio.makedirs(self._objects)
        saved = {}
        for file in files:
            digest = _digest(file)
            if digest not in known:
                # Only what this attempt stored or read in whole is known to be whole.
                fileio.copy(str(file), f"{self._objects}/{digest}", overwrite=True)
                known.add(digest)
            saved[str(file.relative_to(folder))] = digest
        name = f"{step:06d}.json"
        with fileio.open(f"{self.uri}/{name}", "w") as manifest:
            manifest.write(json.dumps({"step": step, "files": saved}))
        unused = [f"{self.uri}/{older}" for older in self._manifests() if older < name]
        unused += [f"{self._objects}/{digest}" for digest in known - set(saved.values())]
        for path in unused:
            if fileio.exists(path):  # unless another attempt was faster
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
                log.warning("%s/%s was not written to its end: it does not count", self.uri, name)
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
                f"{source} is missing or damaged, of which {target.name} was to be restored: "
                f"delete {self.uri} to begin the run anew, or take another --name. {manifest} "
                "names all that it needs"
            )


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
