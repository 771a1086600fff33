"""A ZenML of their own for tests of sandboxes, and the commands of docs/sandboxes.md in it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest
from click.testing import CliRunner
from zenml.cli.cli import cli
from zenml.client import Client
from zenml.config.global_config import GlobalConfiguration

from environment.code.sandbox.base import Limits
from tests.pipelines.commands import ROOT
from tests.pipelines.zenml_server import printed

PAGE = (ROOT / "docs" / "sandboxes.md").read_text() + "\n## "
LIMITS = Limits(wall_s=5)


def zenml(*arguments: str) -> None:
    result = CliRunner().invoke(cli, list(arguments))
    assert result.exit_code == 0, (arguments, result.output, result.exception)


def register(section: str) -> None:
    """Give the commands of a section that register something."""
    for block in printed(PAGE, section, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            if re.match(r"zenml \S+ (flavor )?register ", line):
                zenml(*shlex.split(line)[1:])


def start_anew() -> None:
    GlobalConfiguration._reset_instance()
    Client._reset_instance()


@pytest.fixture(scope="module")
def own_zenml(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One whose active stack no other test sees."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ZENML_CONFIG_PATH", str(tmp_path_factory.mktemp("zenml")))
        start_anew()
        yield
    start_anew()
