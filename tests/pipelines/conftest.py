from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from tests import forks

# ZenML opens its database while steps are imported, so before that.
_ZENML = tempfile.TemporaryDirectory(prefix="zenml-of-tests-")
os.environ["ZENML_CONFIG_PATH"] = _ZENML.name
forks.PRELOADED.append("tests.pipelines.commands")

from zenml.client import Client  # noqa: E402

from tests.pipelines import commands  # noqa: E402
from tests.pipelines.commands import ROOT  # noqa: E402

SOURCES = (
    "agent",
    "backends",
    "configs",
    "environment",
    "models",
    "pipelines",
    "deployment",
    "steps",
    "training",
    "web",
)
# configs/service.yaml is the training service's: see tests/service/test_settings.py.
CONFIGS = sorted(set((ROOT / "configs").glob("*.yaml")) - {ROOT / "configs" / "service.yaml"})
KEYS = ("OPENAI_API_KEY", "WANDB_API_KEY", "TINKER_API_KEY", "WANDB_MODE")
SMALL = (
    "data.train_inboxes=2",
    "data.test_inboxes=2",
    "data.mails_per_inbox=60",
    "backend.device=cpu",
    "backend.lora.rank=8",
    "training.groups_per_step=3",
    "training.rollouts_per_group=6",
    "training.max_steps=2",
    "evaluation.scenarios=4",
)


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """What the command itself wrote to stderr, without ZenML's colours."""
        return re.sub(r"\x1b\[[0-9;]*m", "", self.err).strip()


@dataclass(frozen=True)
class Command:
    """A command that runs."""

    process: BaseProcess
    out: Path
    err: Path

    def end(self) -> Ended:
        self.process.join(300)
        code = self.process.exitcode
        self.process.kill()
        assert code is not None, "it did not end in time"
        return Ended(code, self.out.read_text(), self.err.read_text())


@dataclass(frozen=True)
class Project:
    """The project in a folder of its own, so that no test writes to the real ``runs/``."""

    folder: Path

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in KEYS}
        return kept | {"CUDA_VISIBLE_DEVICES": ""} | more

    def start(self, *arguments: str, cwd: Path | None = None, **more: str) -> Command:
        """``python run.py`` with these arguments, in a forked process."""
        handle, out = tempfile.mkstemp(dir=self.folder)
        os.close(handle)
        err = Path(f"{out}.err")
        process = forks.start(
            commands.call_main,
            self.folder,
            arguments,
            cwd or self.folder,
            self.environment(**more),
            Path(out),
            err,
        )
        return Command(process, Path(out), err)

    def run(self, *arguments: str, cwd: Path | None = None, **more: str) -> Ended:
        return self.start(*arguments, cwd=cwd, **more).end()

    def run_anew(self, *arguments: str) -> Ended:
        """The same in a new Python."""
        done = subprocess.run(
            [sys.executable, str(self.folder / "run.py"), *arguments],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self.environment(),
            timeout=300,
        )
        return Ended(done.returncode, done.stdout, done.stderr)


def settings(*values: str) -> list[str]:
    return [part for value in values for part in ("--set", value)]


def pytest_collection_finish(session: pytest.Session) -> None:
    if session.items and not session.config.option.collectonly:
        forks.warm_up()


@pytest.fixture(scope="session", autouse=True)
def _at_home() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(ROOT)
        patched.setenv("CUDA_VISIBLE_DEVICES", "")
        yield


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    # The name is in [tool.coverage.paths].
    folder = tmp_path_factory.mktemp("copy-of-project", numbered=False)
    unwanted = shutil.ignore_patterns("__pycache__", "*.partial")
    for name in SOURCES:
        shutil.copytree(ROOT / name, folder / name, ignore=unwanted)
    shutil.copy2(ROOT / "run.py", folder)
    return Project(folder)


def copy_database(source: Path, target: Path) -> Path:
    """A copy, safe while the target is open elsewhere."""
    with closing(sqlite3.connect(source)) as read, closing(sqlite3.connect(target)) as write:
        read.backup(write)
    return target


@dataclass(frozen=True)
class Finished:
    """A run of all pipelines by the command line; tests must leave its folder as it is."""

    ended: Ended
    folder: Path
    history: Path  # ZenML's database after it

    @property
    def summary(self) -> dict[str, Any]:
        return json.loads((self.folder / "summary.json").read_text())


@pytest.fixture(scope="session")
def finished(project: Project, database: Path, blank: Path) -> Finished:
    copy_database(blank, database)
    ended = project.run_anew("--pipeline", "all", "--name", "first", *settings(*SMALL))
    assert ended.code == 0, ended.out + ended.err
    history = copy_database(database, database.with_name("finished.db"))
    return Finished(ended, project.folder / "runs" / "first", history)


@pytest.fixture(scope="session")
def database() -> Path:
    """What ZenML remembers."""
    return Path(Client().zen_store.url.removeprefix("sqlite:///"))


@pytest.fixture(scope="session")
def blank(database: Path) -> Path:
    """ZenML's database before the first run."""
    return copy_database(database, database.with_name("blank.db"))


@pytest.fixture(scope="module", autouse=True)
def _own_history(request: pytest.FixtureRequest, database: Path, blank: Path) -> None:
    """Each module begins in a ZenML that has seen nothing, or only the run of ``finished``:
    no module sees the runs of another, so their order does not matter."""
    items = [item for item in request.session.items if item.path == request.path]
    if any("finished" in getattr(item, "fixturenames", ()) for item in items):
        copy_database(request.getfixturevalue("finished").history, database)
    else:
        copy_database(blank, database)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write
